import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from hemai.data.image_list import list_images
from hemai.evaluation.prevalence import PriorShift
from hemai.models.classifier import CellClassifier
from hemai.runs import streaming
from hemai.runs.inference import predict_images, prediction_table
from hemai.runs.logits import compute_logits
from hemai.runs.prediction_job import PredictionJob, hold_job
from hemai.runs.processes import Processes
from hemai.runs.streaming import stream_predictions
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError
from hemai.utils.files import csv_text

COUNT, BLOCK = 30, 8


@pytest.fixture(scope="module")
def run():
    metadata = {"prepare": ImagePipeline([]).prepare_spec, "group_kind": "patient", "threshold": 0.5}
    torch.manual_seed(0)
    model = CellClassifier("custom_cnn", ["a", "b"], ["b"], image_size=50, options={"img_size": 50}, metadata=metadata)
    return SimpleNamespace(model=model.eval(), metadata=metadata)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"P{number % 3}_{number:02}.png"), rng.integers(0, 256, (50, 50, 3), np.uint8))
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("hemai.runs.prediction_job.BLOCK", BLOCK)
    for module in ("streaming", "inference"):
        monkeypatch.setattr(f"hemai.runs.{module}.BATCH", 4)


@pytest.fixture
def read(monkeypatch):
    """Names of the images that were read."""
    names, prepare = [], streaming.prepare_images

    def spy(files, *arguments, **options):
        names.extend(file.rsplit("/", 1)[1] for file in files)
        return prepare(files, *arguments, **options)

    monkeypatch.setattr(streaming, "prepare_images", spy)
    return names


def stream(run, images, out, processes=Processes(), shift=None, overwrite=False, pattern=None):  # noqa: B008
    return stream_predictions([run], list_images([str(images)], pattern), out, processes, shift, overwrite=overwrite)


@contextmanager
def stopped_after(blocks):
    """Stop as Ctrl-C does when so many blocks are saved."""
    saved, save = [], PredictionJob.save

    def count(job, *arguments):
        save(job, *arguments)
        saved.append(1)
        if len(saved) == blocks:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PredictionJob, "save", count)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_the_file_holds_the_table_of_one_pass_and_nothing_lies_beside_it(run, images, tmp_path):
    out = tmp_path / "out" / "calls.csv"
    summary = stream(run, images, out)
    table = prediction_table(predict_images([run.model], str(images))[0]).assign(error="")
    assert out.read_text(encoding="utf-8") == csv_text(table)
    assert [file.name for file in out.parent.iterdir()] == ["calls.csv"]
    assert summary.images == COUNT and summary.unreadable == 0
    assert summary.counts["malignant", "yes"] == (table["malignant"] == "yes").sum()


def test_a_stopped_command_goes_on_when_it_is_repeated(run, images, tmp_path, capsys, read):
    stream(run, images, tmp_path / "whole.csv")
    with stopped_after(blocks=2):
        stream(run, images, tmp_path / "calls.csv")
    assert "16 of 30 images are predicted: repeat the command to go on" in capsys.readouterr().err
    assert not (tmp_path / "calls.csv").exists()
    read.clear()
    stream(run, images, tmp_path / "calls.csv")
    assert read == [f"P{number % 3}_{number:02}.png" for number in list_order()[16:]]
    assert (tmp_path / "calls.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "calls.csv.part").exists()


def list_order():
    return sorted(range(COUNT), key=lambda number: (number % 3, number))


def test_a_command_does_not_go_on_with_the_work_of_another(run, images, tmp_path):
    out = tmp_path / "calls.csv"
    with stopped_after(blocks=1):
        stream(run, images, out)
    other = SimpleNamespace(model=CellClassifier(**run.model.hparams).eval(), metadata=run.metadata)
    with pytest.raises(UserError, match=r"differs in run\); repeat that command"):
        stream(other, images, out)
    with pytest.raises(UserError, match="differs in options"):
        stream(run, images, out, shift=PriorShift(0.5, 0.1))
    (images / "P0_00.png").unlink()
    with pytest.raises(UserError, match="differs in images"):
        stream(run, images, out)
    assert stream(run, images, out, overwrite=True).images == COUNT - 1
    assert {file.name for file in tmp_path.iterdir()} == {"images", "calls.csv"}


def test_two_commands_do_not_write_one_file(run, images, tmp_path):
    job = PredictionJob(tmp_path / "calls.csv", COUNT)
    with hold_job(job), pytest.raises(UserError, match="another process predicts into"):
        stream(run, images, job.out)
    assert not job.folder.exists()


def test_a_kill_while_the_tables_are_written_does_not_stop_the_next_command(run, images, tmp_path, monkeypatch):
    out = tmp_path / "calls.csv"

    def stop(job):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PredictionJob, "remove", stop)
        with pytest.raises(KeyboardInterrupt):
            stream(run, images, out, pattern=r"(P\d)")
    before = out.read_bytes()
    assert stream(run, images, out, pattern=r"(P\d)").groups == 3
    assert out.read_bytes() == before


def test_a_damaged_block_is_predicted_again_when_the_command_is_repeated(run, images, tmp_path, read):
    stream(run, images, tmp_path / "whole.csv")
    with stopped_after(blocks=4):
        stream(run, images, tmp_path / "calls.csv")
    (tmp_path / "calls.csv.part" / "block_0000001.npz").write_bytes(b"PK")
    read.clear()
    stream(run, images, tmp_path / "calls.csv")
    assert read == [f"P{number % 3}_{number:02}.png" for number in list_order()[8:16]]
    assert (tmp_path / "calls.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_overwrite_begins_anew_and_may_then_go_on_without_it(run, images, tmp_path, capsys, read):
    out = tmp_path / "calls.csv"
    out.write_text("old", encoding="utf-8")
    for _ in range(2):
        read.clear()
        with stopped_after(blocks=3):
            stream(run, images, out, overwrite=True)
        assert len(read) == COUNT
    assert "repeat the command, without --overwrite, to go on" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "old"
    read.clear()
    assert stream(run, images, out).images == COUNT
    assert len(read) == COUNT - 3 * BLOCK
    assert {file.name for file in tmp_path.iterdir()} == {"images", "calls.csv"}


def test_processes_share_the_blocks_and_every_image_is_read_once(run, images, tmp_path, read):
    stream(run, images, tmp_path / "whole.csv")
    read.clear()
    (images / "P1_04.png").write_bytes(b"")
    shutil.copystat(images / "P1_01.png", images / "P1_04.png")
    out, turns = tmp_path / "calls.csv", []

    def other():
        """The second process does its work where the first waits for it."""
        if not turns:
            turns.append(len(read))
            assert stream(run, images, out, Processes(1, 2)) is None

    assert stream(run, images, out, Processes(0, 2, other)).unreadable == 1
    assert sorted(read) == sorted(file.name for file in images.iterdir())
    lines, whole = (file.read_text(encoding="utf-8").splitlines() for file in (out, tmp_path / "whole.csv"))
    differ = [line for line, of_whole in zip(lines, whole, strict=True) if line != of_whole]
    assert differ == ["P1_04.png,,,,,,the file is empty"]


def test_a_process_that_died_ends_the_others_and_its_blocks_are_predicted_by_the_next_command(run, images, tmp_path):
    def died():
        if (tmp_path / "calls.csv.part" / "block_0000000.npz").exists():
            raise UserError("another process stopped")

    with pytest.raises(UserError, match="another process stopped"):
        stream(run, images, tmp_path / "calls.csv", Processes(0, 2, died))
    assert stream(run, images, tmp_path / "calls.csv").images == COUNT


def test_logits_do_not_depend_on_the_number_of_threads_and_leave_it(run):
    batches = [torch.randint(0, 256, (4, 3, 50, 50), dtype=torch.uint8) for _ in range(6)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute_logits([run.model], batches)[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(found[0], other) for other in found)
