import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from hemai.cli import app
from hemai.reporting import leakage_gap as leakage
from hemai.training import launch as trainings

# (split, seed) -> accuracy, auroc of a training that nobody ran
FIGURES = {("image", 0): (0.9, 0.95), ("group", 0): (0.7, 0.8), ("image", 1): (0.8, 0.9), ("group", 1): (0.7, None)}


def measure(*arguments):
    return CliRunner().invoke(app, ["leakage", *map(str, arguments)], env={"COLUMNS": "100"})


@pytest.fixture
def trained(monkeypatch):
    """Commands of the trainings, which write a result and train nothing."""
    commands = []

    def run(command, check):
        commands.append(command)
        settings = dict(word.split("=", 1) for word in command if "=" in word)
        folder = leakage.Path(settings["run_dir"].strip("'"))
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(json.dumps([w for w in command if "=" in w]))
        accuracy, auroc = FIGURES[settings["data.split"], int(settings["seed"])]
        result = dict.fromkeys(("test/balanced_accuracy", "test/recall", "test/specificity"), 0.5)
        counts = {"groups_shared": 7 * (settings["data.split"] == "image"), "test/images": 100, "test/groups": 7}
        text = json.dumps({**result, **counts, "test/accuracy": accuracy, "test/auroc": auroc})
        (folder / "result.json").write_text(text)
        return trainings.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(trainings.subprocess, "run", run)
    return commands


def test_the_gap_is_the_mean_difference_with_the_interval_of_student(tmp_path, trained):
    assert measure("data.cells=90", "--out", tmp_path / "two", "--seeds", 2).exit_code == 0
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    differences = np.array([0.2, 0.1])
    half = stats.t(1).ppf(0.975) * differences.std(ddof=1) / np.sqrt(2)
    limits = [result[f"gap/accuracy/{limit}"] for limit in ("low", "high")]
    assert [result["gap/accuracy"], *limits] == pytest.approx([0.15, 0.15 - half, 0.15 + half])
    assert result["gap/recall/low"] is None  # both seeds differ by the same: the spread says nothing


def test_one_seed_has_no_interval(tmp_path, trained):
    assert measure("data.cells=90", "--out", tmp_path / "one", "--seeds", 1).exit_code == 0
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    assert (result["gap/accuracy"], result["gap/accuracy/low"]) == (pytest.approx(0.2), None)


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_trained(tmp_path, trained):
    (tmp_path / "out").write_text("")
    done = measure("data.cells=90", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is not a writable folder" in done.stderr
    assert not trained


def test_both_splits_are_trained_with_every_seed_and_compared(tmp_path, trained):
    done = measure("data.cells=90", "--out", tmp_path / "out", "--seeds", 2)
    assert done.exit_code == 0, done.output
    assert len(trained) == 4
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["gap/accuracy"] == pytest.approx(0.15)
    assert (result["image/accuracy"], result["group/accuracy"]) == pytest.approx((0.85, 0.7))
    assert "gap/auroc" not in result  # not defined in one run
    assert pd.read_csv(tmp_path / "out" / "leakage.csv")["accuracy"].tolist() == [0.9, 0.7, 0.8, 0.7]
    assert "7, 7; by group: 0, 0" in done.stdout
    again = measure("data.cells=90", "--out", tmp_path / "out", "--seeds", 2)
    assert again.exit_code == 0, again.output
    assert len(trained) == 4  # finished runs are kept
    for changed in (["data.cells=91"], ["data.cells=90", "model.label_smoothing=0.1"]):
        other = measure(*changed, "--out", tmp_path / "out", "--seeds", 2)
        assert other.exit_code == 2
        assert "is a run with other settings (data.cells=90" in other.stderr


@pytest.mark.parametrize(
    "argument, told",
    [
        ("data.split=image", "data.split=image: hemai leakage sets this itself"),
        ("seed=3", "seed=3: hemai leakage sets this itself"),
        ("run_dir=here", "run_dir=here: hemai leakage sets this itself"),
        ("data.cels=90", "unknown key"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(tmp_path, trained, argument, told):
    done = measure(argument, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert told in done.stderr
    assert not trained and not (tmp_path / "out").exists()
