"""Search settings: many are trained on folds of the development patients, and the best one is tested, once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from optuna import Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from hemai.data.splits import require_folds, split_hash
from hemai.runs.build import build_data
from hemai.runs.hold import hold_folder
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder
from hemai.settings.trust import check_names
from hemai.training.callbacks import mode_of
from hemai.training.folds import best_epoch, divide_into_folds, pool_validation, write_split
from hemai.training.launch import WITHOUT_VALIDATION, launch_runs, reject_reserved_overrides
from hemai.training.search_space import read_space
from hemai.training.search_study import (
    explain_storage_errors,
    latest_trials,
    open_study,
    put_back,
    sampler,
    setting_number,
)
from hemai.training.search_trials import TRIALS, Trials
from hemai.training.trainer import check_monitor
from hemai.utils.errors import UserError, check_whole
from hemai.utils.files import check_writable, csv_text, write_text

WAIT_S = 5  # between two looks at the trials of other workers
BEST = "best"
MOST_FAILURES = 3  # trials that fail in a row: a full GPU or a lost disk, not the settings


def search(
    overrides: Sequence[str],
    space_file: Path,
    trials: int,
    out: Path,
    storage: str | None = None,
    folds: int | None = None,
    trust: bool = False,
) -> tuple[Study, str, Path]:
    """Search settings with Optuna, and train and test the best of them.

    The test images are those of `train.py` with the same settings; no trial sees them. A trial draws settings from the
    space, and trains them on each of several grouped, stratified folds of the other patients. Its score is the best
    mean over the folds, among the epochs, of the monitored validation metric; a trial that falls behind the median of
    the others is stopped. The best setting then trains on all of these patients for as many epochs as its folds say,
    with threshold and temperature from their pooled out-of-fold predictions, and is tested.

    Several processes, also on several machines that share `out`, may work on one search. The same command goes on
    where it was stopped.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        space_file: YAML file of the search space; see `hemai.training.search_space.read_space`.
        trials: Number of settings to try, of all workers together.
        out: Folder of the runs `trials/0000/fold_0` and so on and `best`, of `trials.csv`, and of the database.
        storage: URL of a database, for several machines; None: a file of SQLite in `out`.
        folds: Number of folds; None: as many as the rarest class has patients outside the test, at most five.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        The study, the metric that its scores are, and the run folder of the best setting.

    Raises:
        UserError: A wrong setting, space or storage, too few patients, a search that was already tested, or a training
            that failed before any trial was completed.

    Source: T. Akiba et al., Optuna, KDD 2019; J. Bergstra et al., Algorithms for hyper-parameter optimization, 2011.
    """
    reject_reserved_overrides(["data.allow_leakage", "threshold.validation"], overrides, "tune")
    overrides = parse_arguments(overrides)
    config = compose(overrides)
    if config.probe:
        raise UserError("probe=true: a probe has no epochs by which trials are compared; remove it")
    if config.data.split == "image":
        raise UserError("data.split=image: settings are chosen on folds of patients; remove it")
    if not str(config.monitor).startswith("val/"):
        raise UserError(f"monitor={config.monitor}: trials are compared by a validation metric, such as val/loss")
    check_whole("trainer.max_epochs", config.trainer.max_epochs, 1)
    if not trust:  # before hours of training: the runs are read back
        check_names(OmegaConf.to_container(config, resolve=True), "tune")
    space = read_space(space_file)
    space.check(overrides)
    check_writable(out)
    data = build_data(config)
    data.setup()
    check_monitor(config, data.dataset.classes, data.dataset.positive, validated=True)
    table = data.table.astype({"label": str, "group": str, "fold": str, "split": str})
    is_development = table["split"].isin(("train", "val"))
    final = table["split"].mask(is_development, "train")
    if "test" not in set(final):
        raise UserError("the best setting needs test images, and the split has none; set data.test_share=0.15")
    count = folds or require_folds(table[is_development])
    parts = divide_into_folds(table, is_development, config.data.seed, count)
    patients, kind = table["group"].groupby(final).nunique(), data.dataset.group_kind
    print(f"{patients['train']} {kind}s in {count} folds choose; {patients['test']} others test the best", flush=True)
    facts = {
        "out": str(out.resolve()),
        "settings": overrides,
        "space": space.as_text(),
        "split": split_hash(table, final),
        "folds": count,
    }
    out.mkdir(parents=True, exist_ok=True)
    with explain_storage_errors(storage):
        study = open_study(out, storage, mode_of(config.monitor), config.trainer.max_epochs, facts)
        splits = [write_split(out / "splits" / f"fold_{fold}.csv", table, part) for fold, part in enumerate(parts)]
        plan = Trials(out, overrides, space, splits, config.monitor, config.trainer.max_epochs, trust)
        _try_settings(plan, study, trials, config.seed)
        return study, plan.monitor, _test_best(plan, study, write_split(out / "splits" / f"{BEST}.csv", table, final))


def _try_settings(plan: Trials, study: Study, trials: int, seed: int) -> None:
    """Try settings until there are as many as asked for, and none is left unfinished, of any worker."""
    is_told, failures = False, 0  # in a row
    while True:
        fail_stale_trials(study)
        latest = latest_trials(study)
        states = Counter(trial.state for trial in latest.values())
        if len(latest) < trials or states[TrialState.WAITING]:
            if RunFolder(plan.out / BEST).result.is_file():
                raise UserError(
                    f"{plan.out / BEST} is tested, the best of {len(latest)} settings; more of them would test another "
                    f"one on the same images: keep --trials {len(latest)}, or choose another --out"
                )
            error = _try_one(plan, study, seed)
            failures = 0 if error is None else failures + 1
            completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if error and (not completed or failures == MOST_FAILURES):  # not the fault of a setting
                raise error
        elif states[TrialState.RUNNING]:
            if not is_told:
                print(f"waiting for {states[TrialState.RUNNING]} trials of other workers", flush=True)
            is_told = True
            time.sleep(WAIT_S)
        else:
            return


def _try_one(plan: Trials, study: Study, seed: int) -> UserError | None:
    """Try one setting; the error of a training that failed."""
    is_taken = False

    def train(trial: Trial) -> float:
        nonlocal is_taken
        study.sampler = sampler(seed, trial.number)
        try:
            return plan.train(trial)
        except UpdateFinishedTrialError:
            is_taken = True
            raise
        except TrialPruned as reason:  # told here, after the last words of the training that was stopped
            print(f"this trial was stopped early: {reason}", flush=True)
            raise
        except KeyboardInterrupt:
            put_back(study, trial.number)
            raise

    try:
        study.optimize(train, n_trials=1)
    except UserError as error:
        print(f"this trial failed, and is left out: {error}", flush=True)
        return error
    except (UpdateFinishedTrialError, ValueError):  # Optuna cannot store the end of a trial that another worker ended
        if not is_taken:
            raise
        print("another worker took up this trial, since this one had been silent", flush=True)
    return None


def _test_best(plan: Trials, study: Study, split: str) -> Path:
    """Train the best setting on all patients but those of the test, and test it; one worker does, others wait."""
    latest = latest_trials(study)
    completed = [number for number, trial in latest.items() if trial.state == TrialState.COMPLETE]
    if not completed:
        raise UserError(f"none of {len(latest)} settings was trained to its end; raise --trials, or change the space")
    number = setting_number(study.best_trial)
    drawn, inner = plan.space.draw(FixedTrial(study.best_params)), plan.runs(number)
    epoch, score = best_epoch(inner, plan.monitor)
    print(f"best: trial {number}, {plan.monitor} {score:.4f} in epoch {epoch}: {' '.join(drawn)}", flush=True)
    run = RunFolder(plan.out / BEST)
    with hold_folder(plan.out / TRIALS, "", wait_s=-1):
        _write_trials(plan, latest)
        chosen = [f"trainer.max_epochs={epoch}", pool_validation(inner, plan.out / "predictions.csv"), "report=false"]
        settings = [*plan.overrides, *drawn, split, *WITHOUT_VALIDATION, *chosen]
        launch_runs(plan.out, [(BEST, settings)], 1, plan.trust)
        states = Counter(trial.state for trial in latest.values())
        tried = {
            "settings": len(latest),
            "completed": states[TrialState.COMPLETE],
            "pruned": states[TrialState.PRUNED],
            "failed": states[TrialState.FAIL],
            "trainings": len(list((plan.out / TRIALS).glob("*/*/.hydra/config.yaml"))),
            "folds": len(inner),
            "trial": number,
            "monitor": plan.monitor,
            "score": score,
        }
        write_text(run.search, json.dumps(tried, indent=2) + "\n")
    return run.folder


def _write_trials(plan: Trials, latest: Mapping[int, FrozenTrial]) -> None:
    """Write `trials.csv`: one row per setting, with its state, score, epoch and values."""
    rows = [
        {
            "trial": number,
            "state": trial.state.name.lower(),
            "score": None if trial.value is None else round(trial.value, 7),
            "epoch": trial.user_attrs.get("epoch"),
        }
        | {key: trial.params.get(key) for key in plan.space.distributions}
        for number, trial in sorted(latest.items())
    ]
    write_text(plan.out / "trials.csv", csv_text(pd.DataFrame(rows).astype({"epoch": "Int64"})))
