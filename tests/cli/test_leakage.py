import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from typer.testing import CliRunner

from hemai.cli import app
from hemai.training import launch as trainings
from tests.small_run import SMALL, train_here

OVERRIDES = [*SMALL, "data.patients=6", "data.cells=90", "trainer.max_epochs=1"]


def measure(*arguments):
    return CliRunner().invoke(app, ["leakage", *map(str, arguments)], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("leakage") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings.subprocess, "run", train_here)
        done = measure(*OVERRIDES, "--out", out)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def predictions(out, name):
    return pd.read_csv(out / name / "predictions_test.csv").set_index("path")


def test_clean_and_leaky_networks_are_tested_on_the_same_images(measured):
    out, printed = measured
    result = json.loads((out / "result.json").read_text())
    clean, leaky = [], []
    folds = len(list(out.glob("*_clean")))
    for fold in range(folds):
        whole = predictions(out, f"seed_0_fold_{fold}_clean")
        halves = [predictions(out, f"seed_0_fold_{fold}_dose_0.5_half_{half}") for half in (0, 1)]
        assert sorted(whole.index) == sorted([*halves[0].index, *halves[1].index])
        clean.append(whole)
        leaky += halves
    accuracies = [accuracy_score(part["label"], part["predicted"]) for part in map(pd.concat, (clean, leaky))]
    assert [result["clean/accuracy"], result["leaky_0.5/accuracy"]] == pytest.approx(accuracies)
    assert result["gap_0.5/accuracy"] == pytest.approx(np.diff(accuracies)[0])
    table = pd.read_csv(out / "leakage.csv")
    assert table["images"].sum() == 90 and len(table) == 6
    assert np.average(table["gap"], weights=table["images"]) == pytest.approx(result["gap_0.5/accuracy"])
    assert "leakage gap: 90 images of 6 patients" in printed
    assert "among them 50 % of the images of each tested patient" in " ".join(printed.split())


def test_only_leaky_networks_train_on_the_tested_patients(measured):
    out, _ = measured
    for folder in out.glob("seed_0_*"):
        splits = pd.read_csv(folder / "splits.csv")
        trained, tested = (set(splits["group"][splits["split"] == name]) for name in ("train", "test"))
        assert bool(trained & tested) == ("dose" in folder.name)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["data.split=image"], "data.split=image: hemai leakage sets this itself"),
        (["monitor=val/auroc"], "monitor=val/auroc: hemai leakage sets this itself"),
        (["run_dir=here"], "run_dir=here: hemai leakage sets this itself"),
        (["data.cels=90"], "unknown key"),
        (["--dose", "0.6"], "--dose 0.6: expected a number above 0 up to 0.5"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(tmp_path, monkeypatch, arguments, told):
    monkeypatch.setattr(trainings.subprocess, "run", lambda *_, **__: pytest.fail("something was trained"))
    done = measure(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings.subprocess, "run", lambda *_, **__: pytest.fail("something was trained"))
    (tmp_path / "out").write_text("")
    done = measure("data.cells=90", "data.patients=6", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is not a writable folder" in done.stderr
