"""Run folders of the first format of checkpoints still evaluate, report and resume.

`runs_of_format_1.tar.xz` holds a finished run and the same run killed in its second epoch, after
python train.py data.patients=9 data.cells=60 model=timm model.backbone=resnet10t
'model.options={channels:[4,4,8,8],stem_width:4}' model.image_size=48 model.schedule=null
'model.plateau={factor:0.5,patience:0}' model.class_weights=balanced model.label_smoothing=0.1 transform=flips
data.batch_size=16 trainer=cpu trainer.max_epochs=3 patience=5 save_every_n_steps=1 report=false
"""

import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.models.classifier import CellClassifier
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.utils.errors import UserError


@pytest.fixture
def runs(tmp_path):
    with tarfile.open(Path(__file__).parents[1] / "runs_of_format_1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def resume(folder, *more):
    arguments = parse_arguments([f"resume={folder}", *more, "report=false", "plots=false", "logger=none"])
    return script.train(compose(arguments), arguments)


def test_a_finished_run_evaluates_and_reports(runs):
    for verb in (["evaluate", "--out", str(runs / "out")], ["report"]):
        done = CliRunner().invoke(app, [verb[0], str(runs / "finished"), *verb[1:]])
        assert done.exit_code == 0, done.output
    before = json.loads((runs / "finished" / "result.json").read_text())
    after = json.loads((runs / "out" / "result.json").read_text())
    for name in ("accuracy", "recall", "specificity", "auroc", "loss"):
        assert after[f"test/{name}"] == pytest.approx(before[f"test/{name}"], abs=1e-5)
    assert (runs / "finished" / "report.html").is_file()


def test_its_checkpoint_loads_with_lightning_alone(runs):
    model = CellClassifier.load_from_checkpoint(runs / "finished" / "checkpoints" / "best.ckpt", weights_only=True)
    assert model.classes == ["all", "hem"]
    assert model.hparams["metadata"]["data"] == "synthetic" and "facts" not in model.hparams


def test_a_run_that_was_killed_goes_on_to_the_end_of_the_one_that_was_not(runs):
    resume(runs / "stopped")
    states = [
        torch.load(runs / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("finished", "stopped")
    ]
    for name, tensor in states[0]["state_dict"].items():
        torch.testing.assert_close(states[1]["state_dict"][name], tensor)
    for part in ("num_bad_epochs", "last_epoch"):
        assert states[1]["plateau"][part] == states[0]["plateau"][part]
    histories = [pd.read_csv(runs / name / "metrics.csv") for name in ("finished", "stopped")]
    pd.testing.assert_frame_equal(histories[1][histories[0].columns], histories[0], rtol=1e-4)


def test_a_finished_run_is_tested_again_and_not_trained_further(runs):
    before = json.loads((runs / "finished" / "result.json").read_text())
    after = resume(runs / "finished")
    assert after["epochs"] == before["epochs"] == 3
    assert after["test/loss"] == pytest.approx(before["test/loss"], abs=1e-5)


def test_a_run_cannot_go_back_to_fewer_epochs(runs):
    with pytest.raises(UserError, match=r"in epoch 3, past trainer.max_epochs=1"):
        resume(runs / "finished", "trainer.max_epochs=1")
