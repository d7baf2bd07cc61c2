"""The public API, as in a notebook."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import hemai
from hemai import CellDataset, evaluate, load_run, train
from hemai.data.images import read_image
from hemai.utils.errors import UserError
from tests.small_run import SMALL


class Tiny(CellDataset):
    name = "tiny"
    classes = ("normal", "blast")
    positive = ("blast",)
    filename = re.compile(r"P(?P<group>\d+)_(?P<label>[a-z]+)_\d+\.png")


class ByFolder(Tiny):
    filename = re.compile(r"P(?P<group>\d+)_\d+\.png")


def test_importing_hemai_imports_nothing_heavy_before_a_name_is_used():
    code = "import sys, hemai; assert not {'torch', 'cv2', 'pandas'} & set(sys.modules); print(hemai.CNMC.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "CNMC"


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(hemai, name).__module__.startswith("hemai.") for name in hemai.__all__)
    with pytest.raises(AttributeError, match="CellDatset"):
        _ = hemai.CellDatset


def test_a_data_set_is_a_dozen_lines_of_facts(tmp_path, draw_image):
    for name in ("a/P1_normal_1.png", "P2_blast_1.png", "P2_blast_2.png", "P3_odd_1.png", "readme.png"):
        draw_image(tmp_path / name)
    data = Tiny(tmp_path)
    assert data.table.sort_values("path").to_numpy().tolist() == [
        ["P2_blast_1.png", "blast", "2", ""],
        ["P2_blast_2.png", "blast", "2", ""],
        ["a/P1_normal_1.png", "normal", "1", ""],
    ]
    assert len(data.problems) == 2 and "P3_odd_1.png" in data.problems[0] and "readme.png" in data.problems[1]
    with pytest.raises(UserError, match="readme.png"):
        data.check()


def test_without_a_label_in_the_name_the_folder_names_the_class(tmp_path, draw_image):
    for name in ("blast/P1_1.png", "normal/P2_1.png", "other/P3_1.png"):
        draw_image(tmp_path / name)
    data = ByFolder(tmp_path)
    assert list(data.table["label"]) == ["blast", "normal"]
    assert "other/P3_1.png" in data.problems[0]


def test_a_part_of_the_name_may_be_missing(tmp_path, draw_image):
    class Folds(Tiny):
        filename = re.compile(r"P(?P<group>\d+)_(?P<label>[a-z]+)(?:_f(?P<fold>\d))?\.png")

    for name in ("P1_normal_f2.png", "P2_blast.png"):
        draw_image(tmp_path / name)
    assert Folds(tmp_path).table[["group", "fold"]].to_numpy().tolist() == [["1", "2"], ["2", ""]]


@pytest.mark.parametrize("facts", [{}, {"filename": re.compile(r"P\d+\.png")}])
def test_a_data_set_that_does_not_tell_its_groups_is_refused(tmp_path, draw_image, facts):
    draw_image(tmp_path / "blast" / "P1.png")
    kind = type("NoGroups", (CellDataset,), {"name": "none", "classes": ("blast", "normal"), **facts})
    with pytest.raises(UserError, match=r"NoGroups.filename: expected a regular expression with \(\?P<group>"):
        kind(tmp_path)


def test_a_data_set_is_a_torch_data_set_that_shows_itself(tmp_path, draw_image):
    files = [draw_image(tmp_path / f"P{i}_{label}_1.png") for i, label in enumerate(("normal", "blast", "blast"))]
    data = Tiny(tmp_path)
    assert len(data) == 3
    by_path = {path: data[i] for i, path in enumerate(data.table["path"])}
    for file, target in zip(files, (0, 1, 1), strict=True):
        image, found = by_path[file.name]
        assert found == target
        assert np.array_equal(image.permute(1, 2, 0).numpy(), read_image(file))
    assert [axes.get_title() for axes in data.show(2).axes if axes.images] == ["normal\n0", "blast\n2"]


def test_a_run_predicts_files_folders_and_arrays_alike(small_run):
    run = load_run(small_run[0])
    tested = run.predictions("test").table["path"]
    root = run.data().dataset.root
    files = [root / path for path in tested]
    by_file = run.predict(files)
    expected = pd.read_csv(small_run[0] / "predictions_test.csv")["probability/all"]
    assert by_file["probability/all"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
    by_array = run.predict([read_image(file) for file in files])
    assert by_array["probability/all"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
    assert list(by_array["path"]) == [str(number) for number in range(len(files))]
    assert len(run.predict(root)) == 150
    assert len(run.predict(read_image(files[0]))) == 1
    with pytest.raises(UserError, match=r"image 0: float64 of shape \(4, 4\), expected uint8 RGB"):
        run.predict([np.zeros((4, 4))])


def test_the_validation_predictions_of_a_run_are_read_too(small_run):
    predictions = load_run(small_run[0]).predictions("val")
    assert evaluate(predictions).metrics.set_index("metric")["value"]["accuracy"] == pytest.approx(
        small_run[1]["val/accuracy"]
    )
    with pytest.raises(UserError, match="no external predictions"):
        load_run(small_run[0]).predictions("external")


def test_predictions_of_a_run_are_evaluated_and_show_themselves(small_run):
    evaluation = evaluate(load_run(small_run[0]).predictions("test"))
    by_name = evaluation.metrics.set_index("metric")["value"]
    assert by_name["accuracy"] == pytest.approx(small_run[1]["test/accuracy"])
    assert set(evaluation.plots()) == {"confusion_matrix", "roc", "precision_recall", "reliability", "groups"}
    assert evaluation._repr_html_().count("<img") == 5
    assert evaluation._repr_html_().count("<table") == 2


def test_a_file_of_predictions_made_elsewhere_is_evaluated(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    scores = np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.25, 60), 0, 1)
    table = pd.DataFrame({"group": [f"P{i // 5}" for i in range(60)], "label": labels, "probability": scores})
    table.to_csv(tmp_path / "p.csv", index=False)
    values = evaluate(tmp_path / "p.csv").metrics.set_index("metric")["value"]
    assert values["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert values["recall"] == pytest.approx((scores[labels == 1] >= 0.5).mean(), abs=1e-6)
    table.assign(label=np.where(labels, "blast", "normal")).to_csv(tmp_path / "named.csv", index=False)
    named = evaluate(tmp_path / "named.csv", positive=["blast"]).metrics.set_index("metric")["value"]
    assert named["auroc"] == pytest.approx(values["auroc"]) and "recall/blast" in named


def test_a_class_without_any_group_is_named_too(tmp_path):
    (tmp_path / "p.csv").write_text("group,label,probability\nP1,1,0.9\nP2,1,0.4\n")
    assert evaluate(tmp_path / "p.csv").underpowered_classes() == {"0": 0, "1": 2}


@pytest.mark.parametrize(
    ("text", "positive", "message"),
    [
        ("patient,label,probability\nP1,1,0.5\n", [], "no column group"),
        ("group,label,p\nP1,1,0.5\n", [], "expected probability"),
        ("group,label,probability\nP1,a,0.5\nP2,b,0.5\n", [], "--positive"),
        ("group,label,probability\nP1,1,1.5\n", [], "1 rows without valid probabilities"),
        ("group,label,probability\nP1,1,\n", [], "1 rows without valid probabilities"),
        ("group,label,probability\n", ["1"], "file is empty"),
        ("group,label,probability/a,probability/b\nP1,a,0.9,0.3\n", [], "1 rows without valid probabilities"),
        ("group,label,probability/a,probability/b\nP1,c,0.9,0.1\n", [], "unknown class c"),
    ],
)
def test_a_file_that_holds_no_predictions_is_refused(tmp_path, text, positive, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path / "p.csv", positive)


def test_train_returns_the_run(tmp_path, capsys):
    run = train(*SMALL, "report=false", "plots=false", "logger=none", f"run_dir={tmp_path / 'run'}")
    assert run.folder.result.is_file()
    assert "epoch 1/" in capsys.readouterr().out
    assert len(run.predictions("test").targets) > 0
    with pytest.raises(UserError, match="trains nothing"):
        train("find=learning_rate")
    with pytest.raises(UserError, match="did you mean 'synthetic'"):
        train("data=synthetik")
