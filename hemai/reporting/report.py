"""Assemble the report of an evaluation and the runs behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hemai.data import CellDataModule
from hemai.evaluation.external_test import ExternalTest, flatten_drop, performance_drop, read_class_names
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import (
    THIS_MODEL,
    external_feature_predictions,
    feature_predictions,
    shortcut_table,
)
from hemai.evaluation.summary import Evaluation, evaluate, write_evaluation
from hemai.reporting.console import print_data
from hemai.reporting.document import Section, print_report, write_report
from hemai.reporting.model_card import write_model_card
from hemai.reporting.sections_images import errors_section, shortcuts_section
from hemai.reporting.sections_results import (
    calibration_section,
    curves_section,
    drop_section,
    group_sections,
    results_section,
    threshold_sections,
)
from hemai.reporting.sections_training import limitations_section, reproduce_section, training_sections
from hemai.runs.build import build_data
from hemai.runs.ensemble import (
    describe_networks,
    find_saved_runs,
    have_disjoint_test_sets,
    pool_probabilities,
    pool_test_predictions,
    spread_over_runs,
    union_of_shared_groups,
)
from hemai.runs.inference import predict_dataset
from hemai.runs.saved_run import SavedRun
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import check_writable, write_text


def report_sections(
    evaluation: Evaluation,
    runs: Sequence[SavedRun],
    shared: Sequence[str] | None = (),
    elsewhere: ExternalTest | None = None,
) -> list[Section]:
    """All sections of a report, the most important first.

    Args:
        evaluation: Of the runs.
        runs: One, the folds of a cross-validation, or an ensemble.
        shared: Groups with images in training or validation and among the evaluated ones; None: not known.
        elsewhere: If the images are not the runs' own test images.
    """
    modules, missing = _modules(runs)
    audit = _audit(evaluation, modules, elsewhere) if modules else None
    images = elsewhere.dataset if elsewhere else modules[0].dataset if modules else None
    own = runs[0] if len(runs) == 1 and elsewhere is None else None  # has drawn its test images already
    return [
        results_section(evaluation, shared, audit),
        *([drop_section(elsewhere.drop)] if elsewhere and elsewhere.drop is not None else []),
        *training_sections(runs),
        curves_section(evaluation, own),
        *threshold_sections(evaluation, runs),
        calibration_section(evaluation),
        *group_sections(evaluation),
        *([errors_section(evaluation, own, images)] if images else []),
        *([shortcuts_section(audit, evaluation.kind, None if elsewhere else modules[0])] if audit is not None else []),
        limitations_section(runs, images, missing, elsewhere is None),
        reproduce_section(runs),
    ]


def _modules(runs: Sequence[SavedRun]) -> tuple[list[CellDataModule], str]:
    try:
        return [run.data() for run in runs], ""
    except UserError as error:
        return [], str(error)


def _audit(evaluation: Evaluation, modules: Sequence[CellDataModule], elsewhere: ExternalTest | None) -> pd.DataFrame:
    if elsewhere:
        parts = [external_feature_predictions(modules[0], elsewhere.dataset, elsewhere.predictions.table)]
        parts = [{name: elsewhere.merge(predictions) for name, predictions in part.items()} for part in parts]
    else:
        parts = [feature_predictions(data) for data in modules]
    network = shortcut_table([{THIS_MODEL: evaluation.predictions}])
    return pd.concat([shortcut_table(parts), network], ignore_index=True)


def report_run(folder: Path, trust: bool = False) -> None:
    """Write `report.html`, `report.md` and `model_card.md` into the folder of a run; old ones are replaced.

    Args:
        folder: Of a finished run.
        trust: Run code that the folder names, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: No finished run with test images, or a folder that cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a finished run")
    run = SavedRun(folder, trust)
    evaluation = evaluate(run.predictions())
    title = f"{run.metadata['data']}: {run.model.hparams['backbone']}"
    sections = report_sections(evaluation, [run], union_of_shared_groups([run.shared_groups()]))
    try:
        write_report(folder, title, sections)
        write_model_card(folder, evaluation, run, sections)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error}); free space, or make it writable") from error
    print(f"report:     {folder / 'report.html'}")


DATA_SETTINGS = re.compile(r"data[.=]|seed=|hydra\.searchpath=")


TRAINING_ONLY = re.compile(r"data\.(split|fold|folds|val_share|test_share|batch_size|balance|add_segmented_twins)=")


def evaluate_runs(
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
        out: New or empty folder for what `hemai.evaluation.summary.write_evaluation` writes, and the report.
        overrides: `data=... data.root=...` as for train.py; empty: the runs' own test images.
        classes: Which class of the data is which of the checkpoint, where they differ; see `read_class_names`.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.settings.trust`.

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
    runs = find_saved_runs(places, trust)
    names = None if classes is None else read_class_names(classes)
    if not overrides:
        if names:
            raise UserError("--classes: the runs' own test images have their classes; name others with data=NAME")
        return evaluate_test_sets(runs, out)
    data = _data(overrides)
    predictions = pool_probabilities(
        [predict_dataset(run.model, data.dataset, names, data.skip_unreadable) for run in runs]
    )
    elsewhere = ExternalTest(data.dataset, predictions, names)
    evaluation = evaluate(elsewhere.merge(predictions))
    shared = union_of_shared_groups(run.shared_groups(predictions, data.dataset) for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared)}
    if have_disjoint_test_sets(runs):
        drop = performance_drop(elsewhere.merge(pool_test_predictions(runs)), evaluation.over_groups)
        elsewhere, result = replace(elsewhere, drop=drop), result | flatten_drop(drop)
    title = f"{data.dataset.name}: {describe_networks(runs)}, trained on {runs[0].metadata['data']}"
    _write(out, title, evaluation, result, report_sections(evaluation, runs, shared, elsewhere))
    return result


def evaluate_test_sets(runs: Sequence[SavedRun], out: Path) -> dict[str, Any]:
    """Figures of runs on their own test images, pooled; with several, also mean and spread over them.

    Returns:
        As `evaluate`, and `runs/<figure>/mean`, `sd`, `lowest` and `highest`.

    Raises:
        UserError: An image that several runs tested, or an `out` that cannot be written.
    """
    metadata = runs[0].metadata
    evaluation = evaluate(pool_test_predictions(runs))
    shared = union_of_shared_groups(run.shared_groups() for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared)} | spread_over_runs(runs)
    title = f"{metadata['data']}: {describe_networks(runs)}"
    _write(out, title, evaluation, result, report_sections(evaluation, runs, shared))
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
        raise UserError(f"{shorten(overrides)}: expected data=NAME too, such as data=cnmc data.root=DIR")
    idle = [word for word in overrides if not DATA_SETTINGS.match(word) or TRAINING_ONLY.match(word)]
    if idle:
        raise UserError(f"{shorten(idle)}: no effect here, where all images meet the network as it is; leave it out")
    return build_data(compose(parse_arguments(overrides)), ImagePipeline([]))


def audit_data(
    overrides: Sequence[str], run: Path | None = None, out: Path | None = None, trust: bool = False
) -> pd.DataFrame:
    """Fit a logistic regression on each of `FEATURES`, on training and validation images; test it.

    Args:
        overrides: Data set and split as for train.py.
        run: A run on the same split, whose figures stand beside.
        out: New file for the table, csv.
        trust: Run code that the run names, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        One row a feature: `feature`, then for accuracy, balanced accuracy and (with positive classes) AUROC
        the value and its interval over groups.

    Raises:
        UserError: No test images, or a run with another split.
    """
    if out is not None and out.exists():
        raise UserError(f"--out: {out} is there; choose another")
    data = build_data(compose(parse_arguments(overrides)))
    data.setup()
    if "test" not in data.rows:
        raise UserError("no image is in test; choose a split with a test set, such as data.split=group")
    network = {} if run is None else {THIS_MODEL: _of_run(SavedRun(run, trust), data)}
    print_data(data)
    table = shortcut_table([feature_predictions(data) | network])
    if out is not None:
        try:
            write_text(out, table.to_csv(index=False))
        except OSError as error:
            raise UserError(f"--out: cannot write {out} ({error}); choose another place") from error
    section = replace(shortcuts_section(table, data.dataset.group_kind, data), is_brief=True)
    print_report(data.dataset.name, [section])
    if out is not None:
        print(f"written to {out}")
    return table


def _of_run(run: SavedRun, data: CellDataModule) -> Predictions:
    predictions = run.predictions()
    if set(predictions.table["path"]) != set(data.table["path"].iloc[data.rows["test"]]):
        raise UserError(f"--run: {run.path} was tested on other images; repeat its data and seed settings here")
    return predictions
