"""The page answers as `hemai predict` does, and says where it cannot."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hemai.app.answers import Answer, Answerer, answers_table
from hemai.app.uploads import Upload, cut
from hemai.cli import app
from hemai.data.images import read_image
from hemai.utils.files import csv_text


def answer_all(answerer, uploads, reading="auto"):
    return [answer for some in answerer.answer(uploads, reading) for answer in some]


def predicted(run_folder, files, out):
    done = CliRunner().invoke(app, ["predict", str(run_folder), *map(str, files), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return pd.read_csv(out)


def test_the_numbers_are_those_of_hemai_predict(run_folder, answerer, cells, upload, tmp_path):
    files = cells[:20]
    table = answers_table(answer_all(answerer, [upload(file) for file in files]))
    expected = predicted(run_folder, files, tmp_path / "calls.csv")
    assert {"predicted", "malignant", "calibrated_probability", "probability/all"} <= set(expected)
    expected = expected.assign(path=expected["path"].str.split("/").str[-1]).set_index("path").loc[table["path"]]
    for column in expected.columns.drop("error", errors="ignore"):
        values, wanted = table[column].to_numpy(), expected[column].to_numpy()
        if wanted.dtype.kind == "f":
            assert np.abs(values - wanted).max() < 1e-6
        else:
            assert (values == wanted).all(), column


def test_a_cell_of_a_smear_has_the_number_of_its_own_image(run_folder, answerer, smear, tmp_path):
    answers = answer_all(answerer, [Upload("smear.png", smear)])
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(smear, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    for answer in answers:
        piece = cut(image, answer.box, answerer.side)
        cv2.imwrite(str(tmp_path / f"{answer.cell}.png"), cv2.cvtColor(piece, cv2.COLOR_RGB2BGR))
    expected = predicted(run_folder, [tmp_path / f"{number}.png" for number in range(1, 7)], tmp_path / "calls.csv")
    values = [answer.values["probability/all"] for answer in answers]
    assert np.abs(np.array(values) - expected["probability/all"]).max() < 1e-6


def test_a_smear_is_cut_into_its_cells_line_by_line(answerer, smear):
    answers = answer_all(answerer, [Upload("smear.png", smear)])
    assert [answer.cell for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert {answer.cells for answer in answers} == {6}
    centres = np.array([[(box[0] + box[2]) / 160 / 2, (box[1] + box[3]) / 160 / 2] for box in (a.box for a in answers)])
    assert centres.astype(int).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_the_user_can_choose_the_whole_image_or_its_cells(answerer, smear, cells, upload):
    [whole] = answer_all(answerer, [Upload("smear.png", smear)], "whole")
    assert whole.box is None and whole.values
    [cell] = answer_all(answerer, [upload(cells[0])], "cells")
    assert cell.cell == 1 and cell.cells == 1
    [single] = answer_all(answerer, [upload(cells[0])])
    assert single.box is None


def test_a_network_of_whole_fields_reads_whole_images_unless_told(answerer, smear):
    fields = Answerer(answerer.runs)
    fields.reads_cells = False
    assert [answer.box for answer in answer_all(fields, [Upload("smear.png", smear)])] == [None]
    assert len(answer_all(fields, [Upload("smear.png", smear)], "cells")) == 6


def test_one_wrong_file_among_ten_is_told_and_the_others_are_answered(answerer, cells, upload):
    uploads = [upload(file) for file in cells[:9]]
    uploads.insert(4, Upload("notes.pdf", b"%PDF-1.7"))
    answers = answer_all(answerer, uploads)
    assert [answer.upload for answer in answers] == uploads
    assert [bool(answer.values) for answer in answers] == [True] * 4 + [False] + [True] * 5
    assert answers[4].problem == "is_pdf"


def test_an_image_that_the_network_cannot_take_does_not_stop_the_others(answerer, cells, upload, monkeypatch):
    predict = answerer.predict

    def fail_on_small(images):
        if any(min(image.shape[:2]) < 8 for image in images):
            raise ValueError("too small")
        return predict(images)

    monkeypatch.setattr(answerer, "predict", fail_on_small)
    small = Upload("small.png", cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    answers = answer_all(answerer, [upload(cells[0]), small, upload(cells[1])])
    assert [answer.problem for answer in answers] == ["", "is_not_predicted", ""]
    assert answers[1].reason == "too small"


def test_an_image_without_nuclei_has_no_cells(answerer):
    blank = Upload("blank.png", cv2.imencode(".png", np.full((300, 300, 3), 255, np.uint8))[1].tobytes())
    assert [answer.problem for answer in answer_all(answerer, [blank], "cells")] == ["no_cells"]
    [whole] = answer_all(answerer, [blank])
    assert whole.unlike is True


def test_cells_like_the_training_images_are_not_called_unlike(answerer, cells, upload):
    answers = answer_all(answerer, [upload(file) for file in cells])
    assert np.mean([answer.unlike for answer in answers]) < 0.1


def test_a_checkpoint_without_summary_reads_whole_images_and_tells_nothing_of_unlike_ones(answerer, smear):
    old = Answerer(answerer.runs)
    old.appearance, old.reads_cells = None, False
    [answer] = answer_all(old, [Upload("smear.png", smear)])
    assert answer.box is None and answer.unlike is None


def test_an_ensemble_answers_with_the_mean_of_its_networks(run_folder, answerer, cells, upload):
    twice = Answerer([*answerer.runs, *answerer.runs])
    uploads = [upload(file) for file in cells[:3]]
    one, both = answer_all(answerer, uploads), answer_all(twice, uploads)
    assert [a.values["probability/all"] for a in both] == pytest.approx([a.values["probability/all"] for a in one])
    assert "calibrated_probability" not in both[0].values


def test_the_lock_is_free_between_two_lists_so_that_another_user_is_answered(answerer, cells, upload, monkeypatch):
    monkeypatch.setattr("hemai.app.answers.AT_ONCE", 2)
    first = answerer.answer([upload(file) for file in cells[:5]])
    assert len(next(first)) == 2
    assert len(answer_all(answerer, [upload(cells[5])])) == 1
    assert [len(some) for some in first] == [2, 1]


def test_the_table_reads_as_csv_with_boxes_and_errors(answerer, smear, cells, upload):
    uploads = [Upload("=evil().txt", b"x"), Upload("smear.png", smear), upload(cells[0])]
    text = csv_text(answers_table(answer_all(answerer, uploads)))
    table = pd.read_csv(io.StringIO(text))
    assert len(table) == 8
    assert table["path"][0].startswith("'=")  # a spreadsheet must not run it
    assert table["error"][0].startswith("not an image")
    assert table["cell"][1:7].tolist() == [1, 2, 3, 4, 5, 6]
    assert table[["cell", "left", "top", "right", "bottom"]].iloc[[0, 7]].isna().all(axis=None)
    assert table["unlike_training_images"][1:].isin(["yes", "no"]).all()


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"malignant": "yes", "malignant_at_threshold": "no", "abstained": "no"}, "benign"),
        ({"malignant": "no"}, "benign"),
        ({"malignant": "yes", "abstained": "yes"}, "unsure"),
        ({"predicted": "blast"}, ""),
        ({}, ""),
    ],
)
def test_the_verdict_is_that_of_the_threshold_unless_the_network_abstains(values, verdict):
    assert Answer(Upload("a", b""), values).verdict == verdict


def test_a_file_decodes_alike_from_memory_and_from_disk(answerer, cells, upload):
    [answer] = answer_all(answerer, [upload(cells[0])])
    height, width = read_image(cells[0]).shape[:2]
    assert answer.size == (width, height)
    assert replace(answer, values={}).problem == ""
