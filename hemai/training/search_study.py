"""The study of a search in Optuna: storage, sampler, pruner, and which trials there are."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hemai.runs.hold import hold_folder
from hemai.utils.errors import UserError, one_line

HEARTBEAT_S, GRACE_S = 20, 90  # a worker that is silent for as long is taken for killed
MAX_RETRIES = 3  # a setting that kills its workers, by exhausting memory, is given up
DATABASE = "study.db"


class FoldMedianPruner(MedianPruner):
    """Stop a trial whose best value in the present fold is worse than the median of other trials at the same step.

    Optuna's pruner takes the best value of all steps. Ours are epochs of one fold after the other, and folds differ
    in difficulty: the best of an easy fold would keep any trial.

    Args:
        epochs: Largest number of epochs of a fold.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial should be stopped after its last reported step."""
        if trial.last_step is None:
            return False
        first = trial.last_step // self.epochs * self.epochs
        if trial.last_step - first < self.epochs // 3:  # slow starters deserve some epochs in every fold
            return False
        of_fold = copy.copy(trial)
        of_fold.intermediate_values = {s: value for s, value in trial.intermediate_values.items() if s >= first}
        return super().prune(study, of_fold)


def open_study(out: Path, storage: str | None, mode: str, epochs: int, facts: Mapping[str, Any]) -> Study:
    """Create the study of a search, or join it.

    Args:
        out: Existing folder of the search, whose name is the study's.
        storage: URL of a database; None: a file of SQLite in `out`.
        mode: Direction of a better score, "min" or "max".
        epochs: Largest number of epochs of a training.
        facts: What all workers must agree on.

    Raises:
        UserError: A study of other facts.
    """
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # of heartbeats and constant_liar, for years
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # tracebacks of failed trainings, which we report
    with hold_folder(out, "", wait_s=-1):  # two workers would create the same tables
        database = RDBStorage(
            storage or f"sqlite:///{(out / DATABASE).absolute()}",
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MAX_RETRIES),
        )
        study = optuna.create_study(
            storage=database,
            study_name=out.resolve().name,
            direction={"min": "minimize", "max": "maximize"}[mode],
            load_if_exists=True,
            pruner=FoldMedianPruner(epochs),
        )
        found = study.user_attrs.setdefault("search", dict(facts))
        study.set_user_attr("search", found)
    if differing := [name for name, fact in facts.items() if found.get(name) != fact]:
        there, here = (one_line(each.get(differing[0])) for each in (found, facts))
        raise UserError(
            f"the search {study.study_name} has other {differing[0]} (there: {there}; here: {here}); repeat its own "
            "command, or choose another --out"
        )
    return study


@contextmanager
def explain_storage_errors(storage: str | None) -> Iterator[None]:
    """Turn errors of the database into a `UserError` that names it, without its password.

    Raises:
        UserError: A URL that is none, or a database that cannot be opened or written.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        raise UserError(
            f"--storage: cannot use {_without_password(storage)} ({one_line(error)}); expected sqlite:///FILE.db in a "
            "folder that can be written, or postgresql://USER:PASSWORD@HOST/NAME with its driver installed"
        ) from error


def _without_password(storage: str | None) -> str:
    try:
        return make_url(storage).render_as_string(hide_password=True) if storage else f"{DATABASE} in --out"
    except ArgumentError:
        return "what is no URL"


def sampler(seed: int, number: int) -> TPESampler:
    """Tree-structured Parzen estimator of a trial; `constant_liar` keeps workers from trying the same at once.

    A new one for each trial, so that what it draws follows from seed, number and earlier trials, also in another worker
    or after a resume.
    """
    return TPESampler(seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]), constant_liar=True)


def setting_number(trial: FrozenTrial) -> int:
    """Number of the setting of a trial: of the first trial that tried it, if that was interrupted."""
    retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if retried is None else retried


def latest_trials(study: Study) -> dict[int, FrozenTrial]:
    """Number of each setting -> the trial that tried it last."""
    return {setting_number(trial): trial for trial in study.get_trials(deepcopy=False)}


def put_back(study: Study, number: int) -> None:
    """Let another trial take up the setting of one that is interrupted."""
    RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[number])
