"""`hemai evaluate`: the figures of finished runs with intervals, by class and by group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hemai.build import build_data
from hemai.config import checked_arguments, compose
from hemai.data import CellDataModule
from hemai.errors import UserError, some
from hemai.evaluation.class_names import read_class_names
from hemai.evaluation.elsewhere import Elsewhere, drop_facts, measure_drop
from hemai.evaluation.evaluation import Evaluation, evaluate_predictions, write_evaluation
from hemai.evaluation.finished import Finished, all_shared, find_finished
from hemai.evaluation.predict import predict_dataset
from hemai.evaluation.together import are_tested_apart, name_of, pool_probabilities, pool_tested, spread
from hemai.files import check_writable
from hemai.reporting import Section, print_report, tell, write_report
from hemai.transforms import Recipe

OF_DATA = re.compile(r"data[.=]|seed=|hydra\.searchpath=")
OF_TRAINING = re.compile(r"data\.(split|fold|folds|val_share|test_share|batch_size|balance|add_segmented_twins)=")


def evaluate(
    places: Sequence[Path],
    out: Path,
    overrides: Sequence[str] = (),
    classes: str | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Figures of runs on their own test images, or of their checkpoints on all images of another root.

    Args:
        places: Run folders, checkpoints, or folders above them. Of several, the test images are pooled, each as the
            run saw it that did not train on it; on images of another root they answer together, as an ensemble.
        out: New or empty folder for what `hemai.evaluation.evaluation.write_evaluation` writes, and the report.
        overrides: `data=... data.root=...` as for train.py; empty: the runs' own test images.
        classes: Which class of the data is which of the checkpoint, where they differ; see `read_class_names`.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.trust`.

    Returns:
        The content of `result.json`: `test/<figure>`, `/low` and `/high` (over groups), `/low_images` and
        `/high_images`, `test/ece`, `test/brier`, `test/groups`, `test/images`, `test/<vote>/<figure>` of groups as a
        whole, `groups_shared` with the training or validation of the runs; for other images `drop/<figure>`.

    Raises:
        UserError: No such run, predictions that do not fit the checkpoint, or an `out` that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is there and no empty folder; choose another")
    check_writable(out)
    runs = find_finished(places, trust)
    names = None if classes is None else read_class_names(classes)
    if not overrides:
        if names:
            raise UserError("--classes: the runs' own test images have their classes; name others with data=NAME")
        return evaluate_tested(runs, out)
    data = _data(overrides)
    predictions = pool_probabilities(
        [predict_dataset(run.model, data.dataset, names, data.skip_unreadable) for run in runs]
    )
    elsewhere = Elsewhere(data.dataset, predictions, names)
    evaluation = evaluate_predictions(elsewhere.merge(predictions), data.dataset.group_kind)
    shared = all_shared(run.shared_groups(predictions, data.dataset) for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared)}
    if are_tested_apart(runs):
        drop = measure_drop(elsewhere.merge(pool_tested(runs)), evaluation.over_groups)
        elsewhere, result = replace(elsewhere, drop=drop), result | drop_facts(drop)
    title = f"{data.dataset.name}: {name_of(runs)}, trained on {runs[0].facts['data']}"
    _write(out, title, evaluation, result, tell(evaluation, runs, shared, elsewhere))
    return result


def evaluate_tested(runs: Sequence[Finished], out: Path) -> dict[str, Any]:
    """Figures of runs on their own test images, pooled; with several, also mean and spread over them.

    Returns:
        As `evaluate`, and `runs/<figure>/mean`, `sd`, `lowest` and `highest`.

    Raises:
        UserError: An image that several runs tested, or an `out` that cannot be written.
    """
    facts = runs[0].facts
    evaluation = evaluate_predictions(pool_tested(runs), facts["group_kind"])
    shared = all_shared(run.shared_groups() for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared)} | spread(runs)
    title = f"{facts['data']}: {name_of(runs)}"
    _write(out, title, evaluation, result, tell(evaluation, runs, shared))
    return result


def _write(out: Path, title: str, evaluation: Evaluation, result: dict[str, Any], sections: list[Section]) -> None:
    try:
        write_evaluation(evaluation, out, result)
        write_report(out, title, sections)
    except OSError as error:
        raise UserError(f"--out: cannot write to {out} ({error}); free space or choose another folder") from error
    print_report(title, sections)
    print(f"written to {out}; read {out / 'report.html'}")


def _data(overrides: Sequence[str]) -> CellDataModule:
    if not any(override.startswith("data=") for override in overrides):
        raise UserError(f"{some(overrides)}: expected data=NAME too, such as data=cnmc data.root=DIR")
    idle = [word for word in overrides if not OF_DATA.match(word) or OF_TRAINING.match(word)]
    if idle:
        raise UserError(f"{some(idle)}: no effect here, where all images meet the network as it is; leave it out")
    return build_data(compose(checked_arguments(overrides)), Recipe([]))


def runs_and_overrides(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell run folders from overrides on a command line that has both.

    Raises:
        UserError: No run.
    """
    runs = [Path(argument) for argument in arguments if Path(argument).exists() or "=" not in argument]
    if not runs:
        raise UserError(f"no run among {some(arguments)}; expected the folder of a finished run")
    return runs, [argument for argument in arguments if Path(argument) not in runs]
