import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from hemai.cli import app
from tests.small_run import train

SPLIT = ("data.cells=200", "data.patients=40", "data.seed=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same split, and one on another."""
    folder = tmp_path_factory.mktemp("paired")
    for name, settings in {"a": ("model.seed=0",), "b": ("model.seed=1",), "c": ("data.test_share=0.2",)}.items():
        train(f"run_dir={folder / name}", *SPLIT, "data.test_share=0.3", *settings)
    train(f"run_dir={folder / 'd'}", *SPLIT, "data.test_share=0.3", "model.label_smoothing=0.1")
    return folder


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_difference_is_that_of_the_test_predictions(runs, tmp_path):
    done = compare(runs / "a", runs / "b", "--paired", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    row = pd.read_csv(tmp_path / "out" / "paired.csv").set_index("metric").loc["auroc"]
    tables = [pd.read_csv(runs / name / "predictions_test.csv") for name in "ab"]
    expected = [roc_auc_score(table["label"] == "all", table["probability/all"]) for table in tables]
    assert row["difference"] == pytest.approx(expected[1] - expected[0], abs=1e-6)
    assert row["low"] < row["difference"] < row["high"] and row["p"] == row["p_holm"]
    assert (
        f"auroc: B - A = {row['difference']:.3f} ({row['low']:.3f} to {row['high']:.3f}): {row['verdict']}"
        in done.stdout
    )


def test_several_runs_are_adjusted_for_their_number(runs, tmp_path):
    done = compare(
        runs / "a", runs / "b", runs / "b" / "checkpoints" / "best.ckpt", "--paired", "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "out" / "paired.csv")
    assert (table["p_holm"] >= table["p"]).all()
    auroc = table[table["metric"] == "auroc"]
    assert auroc["p_holm"].to_numpy() == pytest.approx(np.minimum(1, 2 * auroc["p"].to_numpy()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{a}", "--paired"], "expected two runs or more"),
        (["{a}", "{c}", "--paired"], "needs the same test images"),
        (["{a}", "{b}", "--paired", "--margin", "2"], "--margin 2: expected a number above 0 and below 1"),
        (["{a}", "{b}", "--margin", "0.1"], "--margin applies only to --paired"),
        (["{a}", "{tmp}/nowhere", "--paired"], "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_told(runs, tmp_path, arguments, message):
    places = {name: runs / name for name in "abc"} | {"tmp": tmp_path}
    done = compare(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.stderr


def test_seeds_on_one_test_set_are_pooled_and_other_settings_are_not(runs, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(runs / "a"), str(runs / "b"), "--out", str(tmp_path / "seeds")])
    assert done.exit_code == 0, done.output
    tables = [pd.read_csv(runs / name / "predictions_test.csv") for name in "ab"]
    result = json.loads((tmp_path / "seeds" / "result.json").read_text())
    accuracies = [(table["label"] == table["predicted"]).mean() for table in tables]
    assert result["test/accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["test/images"] == len(tables[0])
    done = CliRunner().invoke(app, ["evaluate", str(runs / "a"), str(runs / "d"), "--out", str(tmp_path / "other")])
    assert done.exit_code == 2
    assert "not repeats of one training: they differ in model.label_smoothing" in " ".join(done.stderr.split())
