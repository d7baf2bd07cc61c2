"""`hemai tune`: settings are chosen on folds, and the best is tested once."""

import json
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

optuna = pytest.importorskip("optuna")

from hemai.cli import app  # noqa: E402
from hemai.settings.run_folder import RunFolder  # noqa: E402
from hemai.training import launch, search_study  # noqa: E402
from tests.small_run import SMALL, train_here  # noqa: E402

SETTINGS = [*SMALL, "data.patients=12", "seed=3"]
SPACE = "model.optimizer.lr: {low: 1e-4, high: 1e-2, log: true}\ntransform: [plain, flips]\n"


def hemai(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "120"})


def follow_here(command, run, follow):
    """In place of a training in another process, which is followed."""
    train_here(command)
    follow(run)
    return 0


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return file


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(launch.subprocess, "run", train_here)
    monkeypatch.setattr(launch, "_run_followed", follow_here)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search of two settings in two folds."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "space.yaml").write_text(SPACE)
    command = ("tune", *SETTINGS, "--space", folder / "space.yaml", "--folds", 2, "--out", folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.subprocess, "run", train_here)
        patch.setattr(launch, "_run_followed", follow_here)
        done = hemai(*command, "--trials", 2)
    assert done.exit_code == 0, done.output
    return folder / "out", command, done.stdout


def splits(run):
    return pd.read_csv(run / "splits.csv").set_index("path")


def test_no_trial_sees_a_test_patient_and_each_other_image_is_validated_once(found, tmp_path, monkeypatch):
    out, _, _ = found
    final = splits(out / "best")
    tested = set(final["group"][final["split"] == "test"])
    for trial in ("0000", "0001"):
        runs = sorted((out / "trials" / trial).iterdir())
        assert [run.name for run in runs] == ["fold_0", "fold_1"]
        validated = []
        for run in runs:
            parts = splits(run)
            used = parts[parts["split"] != "unused"]
            assert not set(used["group"]) & tested
            assert not set(used["group"][used["split"] == "val"]) & set(used["group"][used["split"] == "train"])
            validated += parts.index[parts["split"] == "val"].tolist()
            assert not (run / "predictions_test.csv").exists()
        assert sorted(validated) == sorted(final.index[final["split"] == "train"])
    plain = tmp_path / "plain"
    train_here(["train", *SETTINGS, "trainer.max_epochs=1", f"run_dir={plain}"])
    ordinary = splits(plain)
    assert tested == set(ordinary["group"][ordinary["split"] == "test"])  # the test patients of train.py


def test_the_best_has_the_settings_the_epochs_and_the_threshold_that_its_folds_say(found):
    out, _, _ = found
    table = pd.read_csv(out / "trials.csv")
    assert table["state"].tolist() == ["complete", "complete"]
    for row in table.to_dict("records"):
        files = (out / "trials" / f"{row['trial']:04}").glob("fold_*/metrics.csv")
        means = np.mean([pd.read_csv(file)["val/loss"] for file in files], axis=0)
        assert row["score"] == pytest.approx(means.min()) and row["epoch"] == means.argmin() + 1
    best = table.loc[table["score"].idxmin()]
    run = RunFolder(out / "best")
    overrides = run.overrides.read_text()
    assert f"transform={best['transform']}" in overrides
    assert f"model.optimizer.lr={float(best['model.optimizer.lr'])!r}" in overrides
    result = json.loads(run.result.read_text())
    assert result["epochs"] == best["epoch"]
    folds = (out / "trials" / f"{best['trial']:04}").glob("fold_*/predictions_val.csv")
    pooled = pd.concat(map(pd.read_csv, folds))
    malignant = np.sort(pooled["probability/all"][pooled["label"] == "all"])
    lowest = malignant[int(0.05 * len(malignant) + 1e-9)]  # 95 % of them are found
    below = pooled["probability/all"][pooled["probability/all"] < lowest]
    assert result["threshold"] == pytest.approx((lowest + below.max()) / 2 if len(below) else lowest / 2)


def test_the_report_says_how_many_settings_were_tried(found):
    out, _, _ = found
    report = (out / "best" / "report.md").read_text()
    assert "2 settings were tried, in 4 trainings: 2 trained to the end, 0 stopped early" in report
    assert "so it is optimistic" in report
    assert all((out / f"{name}.png").stat().st_size > 1000 for name in ("history", "importances", "slices"))


def test_compare_reads_the_trials_and_their_validation_scores(found, tmp_path):
    out, _, _ = found
    done = hemai("compare", out, "--out", tmp_path / "table")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "table" / "comparison.csv").set_index("run")
    for fold in (0, 1):
        losses = pd.read_csv(out / "trials" / "0001" / f"fold_{fold}" / "metrics.csv")["val/loss"]
        assert table.loc[f"trials/0001/fold_{fold}", "validation_score"] == pytest.approx(losses.min())
    assert np.isnan(table.loc["best", "validation_score"]) and table.loc["best", "accuracy"] >= 0


def test_the_same_command_trains_nothing_again_and_more_trials_would_test_twice(found, monkeypatch):
    out, command, _ = found
    before = (out / "best" / "result.json").read_text()
    monkeypatch.setattr(launch, "_run_followed", lambda *_: pytest.fail("something was trained"))
    again = hemai(*command, "--trials", 2)
    assert again.exit_code == 0, again.output
    assert (out / "best" / "result.json").read_text() == before
    more = hemai(*command, "--trials", 3)
    assert more.exit_code == 2 and "the best of 2 settings; more of them would test another one" in more.stderr


@pytest.mark.parametrize(
    "change, told", [(["model.label_smoothing=0.1"], "has other settings"), (["--folds", 3], "has other folds")]
)
def test_a_worker_of_another_search_is_refused(found, change, told):
    out, command, _ = found
    kept = (out / "splits" / "fold_0.csv").read_text()
    other = hemai(*command, "--trials", 2, *change)
    assert other.exit_code == 2 and told in other.stderr and "choose another --out" in other.stderr
    assert (out / "splits" / "fold_0.csv").read_text() == kept


def test_an_interrupted_trial_goes_on_with_its_settings_and_a_failed_one_is_left_out(
    here, space, tmp_path, monkeypatch
):
    command = ("tune", *SETTINGS, "--space", space, "--folds", 2, "--out", tmp_path / "out", "--trials", 2)
    monkeypatch.setattr(launch, "_run_followed", interrupt)
    stopped = hemai(*command)
    assert stopped.exit_code == 130
    first = next(line for line in stopped.stdout.splitlines() if line.startswith("trial 0: "))
    monkeypatch.setattr(
        launch,
        "_run_followed",
        lambda command, *rest: 2 if "trials/0002" in str(command) else follow_here(command, *rest),
    )
    done = hemai(*command)
    assert done.exit_code == 0, done.output
    assert first in done.stdout.splitlines()
    assert "this trial failed, and is left out: the training in" in done.stdout
    assert pd.read_csv(tmp_path / "out" / "trials.csv")["state"].tolist() == ["complete", "fail"]
    report = (tmp_path / "out" / "best" / "report.md").read_text()
    assert (
        "2 settings were tried, in 2 trainings: 1 trained to the end, 0 stopped early (behind the median), 1" in report
    )
    (tmp_path / "out" / "best" / "search.json").write_text("[]")
    damaged = hemai("report", tmp_path / "out" / "best")
    assert damaged.exit_code == 2 and "search.json: expected the counts" in damaged.stderr


def interrupt(command, run, follow):
    raise KeyboardInterrupt


def test_the_trial_of_a_killed_worker_is_taken_up_under_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(search_study, "HEARTBEAT_S", 1)
    monkeypatch.setattr(search_study, "GRACE_S", 1)
    study = search_study.open_study(tmp_path, None, "min", 3, {"folds": 2})
    killed = study.ask()
    killed.suggest_float("model.optimizer.lr", 0.0, 1.0)
    study._storage.record_heartbeat(killed._trial_id)
    time.sleep(3)
    joined = search_study.open_study(tmp_path, None, "min", 3, {"folds": 2})
    optuna.storages.fail_stale_trials(joined)
    taken = joined.ask()
    assert taken.suggest_float("model.optimizer.lr", 0.0, 1.0) == killed.params["model.optimizer.lr"]
    assert {number: trial.number for number, trial in search_study.latest_trials(joined).items()} == {0: 1}


def test_an_easy_fold_keeps_no_trial_that_is_behind_in_a_hard_one():
    study = optuna.create_study(pruner=search_study.FoldMedianPruner(epochs=3))
    for shift in range(5):
        trial = study.ask()
        for step, loss in enumerate((0.3, 0.2, 0.1, 0.9, 0.8, 0.7)):  # an easy fold, then a hard one
            trial.report(loss + shift / 100, step)
        study.tell(trial, 0.4 + shift / 100)
    ahead, behind = study.ask(), study.ask()
    for step, loss in enumerate((0.3, 0.2, 0.1)):
        ahead.report(loss, step)
        behind.report(loss, step)
        assert not ahead.should_prune() and not behind.should_prune()
    for step, (better, worse) in enumerate([(0.89, 0.95), (0.79, 0.85)], start=3):
        ahead.report(better, step)
        behind.report(worse, step)
        is_warm = step > 3  # a third of the epochs of every fold is for slow starters
        assert not ahead.should_prune() and behind.should_prune() == is_warm


def test_a_training_that_is_followed_ends_when_what_follows_it_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "POLL_S", 0.1)
    started = []
    popen = launch.subprocess.Popen
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *given: started.append(popen(*given)) or started[0])

    def stop(run):
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        launch._run_followed([sys.executable, "-c", "import time; time.sleep(60)"], RunFolder(tmp_path), stop)
    assert started[0].returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["monitor=null"], "compared by a validation metric"),
        (["monitor=val/aurok"], "did you mean 'val/auroc'"),
        (["data.split=image"], "folds of patients"),
        (["data.test_share=0"], "needs test images"),
        (["probe=true"], "a probe has no epochs"),
        (["trainer.max_epochs=null", "+trainer.max_steps=5"], "trainer.max_epochs=None: expected a whole number"),
        (["threshold.validation=x.csv"], "hemai tune sets this itself"),
        (["--folds", 11], "expected 2 or more, and at most"),
        (["--storage", "sqlite:////nowhere/study.db"], "cannot use sqlite:////nowhere/study.db"),
        (["--storage", "study.db"], "cannot use what is no URL"),
        (["--storage", "postgresql+nothing://a:secret@host/x"], "cannot use postgresql+nothing://a:***@host/x"),
        (["--trials", 0], "Invalid value for '--trials'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(space, tmp_path, arguments, told, monkeypatch):
    monkeypatch.setattr(launch, "_run_followed", lambda *_: pytest.fail("something was trained"))
    done = hemai("tune", *SETTINGS, "--space", space, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2, done.output
    assert told in done.stderr and "secret" not in done.stderr
    assert not list((tmp_path / "out").glob("trials"))


def test_without_optuna_the_command_says_what_to_install(space, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("hemai.training.search")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = hemai("tune", "--space", space, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "pip install 'hemai[tune]'" in done.stderr
