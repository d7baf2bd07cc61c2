import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from typer.testing import CliRunner

from hemai.cli import app
from hemai.training import launch as trainings
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train, train_here

OVERRIDES = [*SMALL, "data.folds=3", "trainer.max_epochs=1"]
ONCE = ("--repeats", 1, "--no-nested")


def hemai(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three folds, each with a validation split of its own."""
    out = tmp_path_factory.mktemp("folds") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings.subprocess, "run", train_here)
        done = hemai("crossvalidate", *OVERRIDES, *ONCE, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_every_image_is_tested_once_by_a_network_that_did_not_see_its_patient(folder):
    parts = [pd.read_csv(folder / f"fold_{fold}" / "predictions_test.csv") for fold in range(3)]
    pooled = pd.read_csv(folder / "predictions.csv")
    assert sorted(pooled["path"]) == sorted(pd.concat(parts)["path"]) and pooled["path"].is_unique
    assert len(pooled) == 150
    for fold, part in enumerate(parts):
        splits = pd.read_csv(folder / f"fold_{fold}" / "splits.csv")
        assert not set(splits["group"][splits["split"] != "test"]) & set(part["group"])
    result = json.loads((folder / "result.json").read_text())
    assert result["test/accuracy"] == pytest.approx(accuracy_score(pooled["label"], pooled["predicted"]))
    # Probabilities of different networks are no common scale: pairs of images of one network alone.
    aurocs = [roc_auc_score(part["label"] == "all", part["probability/all"]) for part in parts]
    pairs = [(part["label"] == "all").sum() * (part["label"] != "all").sum() for part in parts]
    assert result["test/auroc"] == pytest.approx(np.average(aurocs, weights=pairs), abs=1e-6)
    singles = [json.loads((folder / f"fold_{fold}" / "result.json").read_text()) for fold in range(3)]
    accuracies = [single["test/accuracy"] for single in singles]
    assert result["runs/accuracy/mean"] == pytest.approx(np.mean(accuracies))
    assert result["runs/accuracy/sd"] == pytest.approx(np.std(accuracies, ddof=1))
    report = (folder / "report.md").read_text()
    assert f"| mean over runs |  |  |  | {np.mean(accuracies):.4f} |" in report


def test_the_report_of_folds_has_one_flow_and_a_checklist_of_all_of_them(folder, tmp_path):
    report = (folder / "report.md").read_text()
    assert "tested on | 150 images of 9 patients" in report and "by 3 networks, each on its own test images" in report
    assert report.count("![flow]") == 1
    assert "training time, 3 runs together" in report
    copy = tmp_path / "folds"
    shutil.copytree(folder, copy)
    done = hemai("report", copy, "--checklist", "tripod")
    assert done.exit_code == 0, done.output
    told = pd.read_csv(copy / "checklist_tripod.csv", dtype=str).set_index("item")["known"]
    assert "150 images of 9 patients tested" in told["10"]
    assert "tested, by a network that did not train on them: 150 images of 9 patients" in told["20a"]
    assert hemai("report", copy, "--checklist", "consort").exit_code == 2


def test_finished_folds_are_kept_and_give_the_same_figures(folder, tmp_path):
    before = json.loads((folder / "result.json").read_text())
    again = hemai("crossvalidate", *OVERRIDES, *ONCE, "--out", folder)
    assert again.exit_code == 0, again.output
    assert again.stdout.count("is finished") == 3
    assert json.loads((folder / "result.json").read_text()) == before
    done = hemai("evaluate", folder, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == before


def test_the_folds_together_answer_with_the_mean_of_their_probabilities(folder, tmp_path):
    other = ["data=synthetic", "data.patients=6", "data.cells=40"]
    folds = [folder / f"fold_{fold}" for fold in range(3)]
    for number, runs in enumerate(([folds[0]], [folds[1]], [folds[2]], [folder])):
        done = hemai("evaluate", *runs, *other, "--out", tmp_path / str(number))
        assert done.exit_code == 0, done.output
    *singles, together = (pd.read_csv(tmp_path / str(n) / "predictions.csv")["probability/all"] for n in range(4))
    assert together.to_numpy() == pytest.approx(np.mean(singles, axis=0))
    assert singles[0].to_numpy() != pytest.approx(singles[1].to_numpy())


def test_a_fold_that_is_not_finished_is_not_left_out_in_silence(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "folds")
    (tmp_path / "folds" / "fold_1" / "result.json").unlink()
    done = hemai("evaluate", tmp_path / "folds", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"unfinished: {tmp_path / 'folds' / 'fold_1'}" in done.stderr


def test_a_fold_that_was_not_begun_is_not_left_out_in_silence(folder, tmp_path):
    folds = tmp_path / "folds"
    shutil.copytree(folder, folds)
    shutil.rmtree(folds / "fold_1")
    done = hemai("evaluate", folds, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"{folds} is an unfinished cross-validation, without fold_1; repeat its command" in done.stderr
    named = hemai("evaluate", folds / "fold_0", folds / "fold_2", "--out", tmp_path / "two")
    assert named.exit_code == 0, named.output


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["data.fold=1"], "data.fold=1: hemai crossvalidate sets this itself"),
        (["data.val_share=0.2"], "data.val_share=0.2: hemai crossvalidate sets this itself"),
        (["--repeats", "0"], "Invalid value for '--repeats'"),
        (["data.split=image"], "folds are made by data.split=kfold"),
        (["data.folds=1"], "data.folds=1: expected a whole number, 2 or more"),
        (["data.patients=5"], "at least 6 patients"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(tmp_path, arguments, told, monkeypatch):
    monkeypatch.setattr(trainings.subprocess, "run", lambda *_, **__: pytest.fail("something was trained"))
    done = hemai("crossvalidate", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert not Path(tmp_path / "out").exists()


def test_a_training_that_fails_is_told_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        trainings.subprocess, "run", lambda command, check: trainings.subprocess.CompletedProcess([], 2)
    )
    done = hemai("crossvalidate", *OVERRIDES, *ONCE, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"the training in {tmp_path / 'out' / 'fold_0'} failed with status 2" in done.stderr


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    """Two repeats of two folds, with inner folds."""
    out = tmp_path_factory.mktemp("nested") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings.subprocess, "run", train_here)
        done = hemai("crossvalidate", *SMALL, "data.folds=2", "--repeats", 2, "--out", out)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_nothing_is_chosen_on_test_images_and_all_others_train(nested):
    out, printed = nested
    assert "2 x 2 folds, 8 inner folds that choose epoch and threshold: 12 trainings" in printed
    for name in (f"repeat_{repeat}/fold_{fold}" for repeat in range(2) for fold in range(2)):
        splits = pd.read_csv(out / name / "splits.csv").set_index("path")["split"]
        assert set(splits) == {"train", "test"}
        train = set(splits.index[splits == "train"])
        inner = sorted((out / "inner" / name).glob("*/splits.csv"))
        validated = []
        for file in inner:
            parts = pd.read_csv(file).set_index("path")
            assert set(parts.index[parts["split"] != "unused"]) == train
            trained, validation = (set(parts["group"][parts["split"] == part]) for part in ("train", "val"))
            assert not trained & validation
            validated += parts.index[parts["split"] == "val"].tolist()
        assert sorted(validated) == sorted(train)  # each training image once


def test_epoch_and_threshold_are_those_of_the_inner_folds(nested):
    out, _ = nested
    for name in ("repeat_0/fold_1", "repeat_1/fold_0"):
        inner = sorted(path.parent for path in (out / "inner" / name).glob("*/metrics.csv"))
        losses = np.mean([pd.read_csv(folder / "metrics.csv")["val/loss"] for folder in inner], axis=0)
        result = json.loads((out / name / "result.json").read_text())
        assert result["epochs"] == losses.argmin() + 1
        chosen_on = pd.concat([pd.read_csv(folder / "predictions_val.csv") for folder in inner])
        malignant = np.sort(chosen_on["probability/all"][chosen_on["label"] == "all"])
        lowest = malignant[int(0.05 * len(malignant) + 1e-9)]  # 95 % of them are found
        below = chosen_on["probability/all"][chosen_on["probability/all"] < lowest]
        assert result["threshold"] == pytest.approx((lowest + below.max()) / 2 if len(below) else lowest / 2)


def test_metrics_are_means_over_repeats_and_an_image_counts_once(nested, tmp_path):
    out, printed = nested
    result = json.loads((out / "result.json").read_text())
    repeats = [pd.concat(map(pd.read_csv, out.glob(f"repeat_{i}/fold_*/predictions_test.csv"))) for i in range(2)]
    assert all(len(repeat) == repeat["path"].nunique() == 150 for repeat in repeats)
    accuracies = [accuracy_score(repeat["label"], repeat["predicted"]) for repeat in repeats]
    assert result["test/accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["test/images"] == 150
    assert pd.read_csv(out / "groups.csv")["images"].sum() == 150
    assert "Each image is tested by 2 networks that did not train on its patient" in printed
    again = hemai("evaluate", out, "--out", tmp_path / "out")  # inner runs are not evaluated
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    compared = hemai("compare", out, "--out", tmp_path / "compared")
    assert compared.exit_code == 0, compared.output
    runs = pd.read_csv(tmp_path / "compared" / "comparison.csv")["run"]
    assert sorted(run for run in runs if "repeat" in run) == [
        f"repeat_{i}/fold_{k}" for i in range(2) for k in range(2)
    ]


def test_a_threshold_is_not_chosen_on_test_images(folder, tmp_path):
    with pytest.raises(UserError, match=r"of its images are test images .* chosen on others"):
        train("data.split=kfold", "data.folds=3", f"threshold.validation={folder / 'fold_0' / 'predictions_test.csv'}")


@pytest.mark.parametrize("verb", ["crossvalidate", "leakage"])
def test_one_patient_of_a_class_cannot_be_divided_into_folds(tmp_path, draw_image, verb):
    for name in ("all/P1_1", "all/P1_2", "all/P2_1", "hem/P3_1", "hem/P3_2"):
        (tmp_path / "cells" / name).parent.mkdir(parents=True, exist_ok=True)
        draw_image(tmp_path / "cells" / f"{name}.png")
    settings = ["data=folder", f"data.root={tmp_path / 'cells'}", "data.pattern='(P\\d)_'", "data.positive=[all]"]
    done = hemai(verb, *settings, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert "one patient only" in done.stderr
