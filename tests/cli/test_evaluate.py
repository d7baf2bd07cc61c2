import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from hemai.cli import app
from tests.small_run import SMALL, train

PATIENTS = [("1", "all"), ("2", "all"), ("H1", "hem"), ("H2", "hem")]


@pytest.fixture
def run(small_run):
    return small_run


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def test_figures_of_a_run_are_those_of_its_training_with_intervals(run, tmp_path):
    folder, trained = run
    done = evaluate(folder, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    for name in ("accuracy", "recall", "specificity", "auroc", "f1_weighted", "recall/hem", "loss"):
        assert result[f"test/{name}"] == pytest.approx(trained[f"test/{name}"], abs=1e-6)
        if result[f"test/{name}/low"] is not None:
            assert result[f"test/{name}/low"] <= result[f"test/{name}"] <= result[f"test/{name}/high"]
    assert (result["test/images"], result["test/groups"]) == (trained["test/images"], trained["test/groups"])
    groups = pd.read_csv(tmp_path / "out" / "groups.csv")
    assert groups["images"].sum() == trained["test/images"]
    assert result["test/majority/accuracy"] == pytest.approx(groups["majority_right"].mean())
    assert f"{result['test/auroc']:.4f}" in done.stdout
    assert result["groups_shared"] == 0
    assert "WARNING: one patient of all, hem: these metrics describe the 2 patients tested" in done.stdout


def test_the_threshold_lies_in_the_checkpoint_and_comes_from_validation_alone(run):
    folder, trained = run
    metadata = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]["metadata"]
    threshold = metadata["threshold"]
    assert (threshold, metadata["temperature"]) == pytest.approx((trained["threshold"], trained["temperature"]))
    validation, test = (pd.read_csv(folder / f"predictions_{split}.csv") for split in ("val", "test"))
    found = np.sort(validation["probability/all"][validation["label"] == "all"])
    missed = int(0.05 * len(found))  # so many may be missed, and one more may not
    assert found[missed] >= threshold and (missed == 0 or found[missed - 1] < threshold)
    for name, sign, label in (("recall", 1, "all"), ("specificity", -1, "hem")):
        scores = test["probability/all"][test["label"] == label]
        expected = ((scores >= threshold) == (sign > 0)).mean()
        assert trained[f"test_at_threshold/{name}"] == pytest.approx(expected)


def test_a_checkpoint_is_evaluated_on_all_images_of_another_root(run, tmp_path):
    folder, _ = run
    done = evaluate(folder / "checkpoints" / "best.ckpt", "data=synthetic", *SMALL[:2], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("path")
    assert len(found) == 150
    tested = pd.read_csv(folder / "predictions_test.csv").set_index("path")
    difference = found.loc[tested.index, "probability/all"] - tested["probability/all"]
    assert difference.abs().max() < 1e-6
    splits = pd.read_csv(folder / "splits.csv")
    shared = splits["group"][splits["split"] != "test"].nunique()
    assert json.loads((tmp_path / "out" / "result.json").read_text())["groups_shared"] == shared
    assert (
        f"WARNING, leakage: {shared} of the 9 patients evaluated here are also in training or validation" in done.stdout
    )


def test_of_a_run_without_a_test_the_report_speaks_of_the_patients_evaluated(tmp_path, cnmc_tree):
    train(f"run_dir={tmp_path / 'run'}", "data.test_share=0")
    names = [f"UID_{patient}_{i}_1_{label}.bmp" for patient, label in PATIENTS for i in range(3)]
    root = cnmc_tree({"fold_0": names})
    done = evaluate(tmp_path / "run", "data=cnmc", f"data.root={root}", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    report = (tmp_path / "out" / "report.md").read_text()
    assert "Leakage: none of the 4 patients evaluated here is in training or validation." in report
    assert "Split: no patient is in more than one of train, val." in report
    assert "The run has no test images of its own." in report
    assert report.count("Leakage") == 1  # nothing is said of a test that never was


def test_of_a_checkpoint_without_its_run_nobody_knows_what_it_was_trained_on(run, tmp_path):
    alone = tmp_path / "alone.ckpt"
    shutil.copy(run[0] / "checkpoints" / "best.ckpt", alone)
    done = evaluate(alone, "data=synthetic", *SMALL[:2], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "WARNING, leakage unknown" in done.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["groups_shared"] is None
    assert "**WARNING, leakage unknown" in (tmp_path / "out" / "report.md").read_text()
    without = evaluate(alone, "--out", tmp_path / "again")
    assert without.exit_code == 2
    assert "has no test predictions" in without.stderr


def test_images_of_only_one_kind_are_evaluated_without_the_figures_that_need_both(run, tmp_path, draw_image):
    for group in range(3):
        draw_image(tmp_path / "cells" / "all" / f"P{group}_1.png")
        draw_image(tmp_path / "cells" / "alike" / f"P{group}_2.png")
    data = ["data=folder", f"data.root={tmp_path / 'cells'}", r"data.pattern=(P\d+)_"]
    done = evaluate(run[0], *data, "--classes", "all: all, alike: all", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["test/specificity"] is None and result["test/auroc"] is None
    assert result["test/recall"] == result["test/accuracy"]
    assert "all images are malignant, or all benign" in (tmp_path / "out" / "report.md").read_text()


def test_a_stated_prevalence_changes_probabilities_but_neither_ranks_nor_decisions_at_the_threshold(run, tmp_path):
    folder, trained = run
    done = evaluate(folder, "--out", tmp_path / "out", "--prevalence", 0.05)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["prevalence"] == 0.05
    for name in ("test/auroc", "test_at_threshold/recall", "test_at_threshold/specificity"):
        assert result[name] == pytest.approx(trained[name])
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")["probability/all"]
    assert (found < pd.read_csv(folder / "predictions_test.csv")["probability/all"]).all()
    assert "to 0.05 (Saerens et al. 2002)" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("change", ["label", "group", "fewer", "twice"])
def test_predictions_that_were_edited_by_hand_are_refused(run, tmp_path, change):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    table = pd.read_csv(folder / "predictions_test.csv")
    if change in ("label", "group"):
        table[change] = table[change].iloc[::-1].to_numpy()
    table = {"fewer": table.iloc[1:], "twice": pd.concat([table, table.iloc[:1]])}.get(change, table)
    table.to_csv(folder / "predictions_test.csv", index=False)
    done = evaluate(folder, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "1 repeated images" in done.stderr or "do not match the" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["{tmp}/nowhere"], "no checkpoint at"),
        (["{run}/result.json"], "result.json"),
        (["{run}", "data=synthetic", "data.split=image"], "data.split=image: these settings only affect training"),
        (
            ["{run}", "data=synthetic", "threshold.rule=half"],
            "threshold.rule=half: these settings only affect",
        ),
        (["{run}", "data=cnmc"], "data.root"),
        (["{run}", "data.skip_unreadable=true"], "expected also data=NAME"),
        (["{run}", "--out", "{run}"], "is not an empty folder"),
        (["{run}", "data=iranian", "data.root={tmp}/smears"], "has the classes all, hem, the data Benign, Early"),
        (["{run}", "--classes", "Benign: hem"], "--classes applies only to an external test set"),
        (
            ["{run}", "{run}/checkpoints/last.ckpt"],
            "not repeats of one training: they are checkpoints of one run",
        ),
        (["{run}", "--out", "{run}/result.json/out"], "result.json is not a writable folder"),
        (["data=synthetic"], "no run among data=synthetic"),
        (["{run}", "--prevalence", "5"], "--prevalence=5: expected a fraction"),
        (["{tmp}/made.csv", "--prevalence", "0.05"], "--prevalence needs a run"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(run, tmp_path, draw_image, arguments, told):
    draw_image(tmp_path / "smears" / "Benign" / "WBC-Benign-001.jpg")
    arguments = [argument.format(run=run[0], tmp=tmp_path) for argument in arguments]
    out = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    done = evaluate(*arguments, *out)
    assert done.exit_code == 2, done.output
    assert told in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_network_that_gives_no_numbers_is_told(run, tmp_path):
    content = torch.load(run[0] / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"]["backbone.fc2.bias"][:] = float("inf")
    torch.save(content, tmp_path / "broken.ckpt")
    done = evaluate(tmp_path / "broken.ckpt", "data=synthetic", *SMALL[:2], "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "logits of 32 images are not finite" in done.stderr  # of the first batch: the others are not computed
