"""Evaluate runs, external test sets and files of predictions, and report the results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hemai.data.datamodule import CellDataModule
from hemai.evaluation.class_mapping import read_class_names
from hemai.evaluation.external_test import ExternalTest, flatten_drop, performance_drop
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.summary import Evaluation, evaluate, write_evaluation
from hemai.reporting.document import Section, print_report, write_report
from hemai.reporting.looks import describe_look
from hemai.reporting.report import report_sections
from hemai.reporting.text import prevalence_sentence
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
from hemai.runs.ensemble_threshold import choose_ensemble_point
from hemai.runs.inference import predict_dataset
from hemai.runs.prevalence import prior_shift
from hemai.runs.saved_run import SavedRun
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import check_new_folder, output_errors

DATA_SETTINGS = re.compile(r"data[.=]|seed=|hydra\.searchpath=")
TRAINING_ONLY = re.compile(
    r"data\.(split|fold|folds|val_share|test_share|batch_size|balance|add_segmented_twins|permute_labels)="
)


def evaluate_runs(
    paths: Sequence[Path],
    out: Path,
    overrides: Sequence[str] = (),
    classes: str | None = None,
    trust: bool = False,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Evaluate runs on their own test images, or their checkpoints on an external test set, and write a report.

    Args:
        paths: Run folders, checkpoints, or folders above them. The test images of several runs are pooled, each as
            predicted by the run that did not train on it; on an external test set several runs are an ensemble.
        out: New or empty folder for what `hemai.evaluation.summary.write_evaluation` writes, and the report.
        overrides: `data=... data.root=...` as for train.py; empty: the runs' own test images.
        classes: Mapping from classes of the data to those of the checkpoint, where they differ; see `read_class_names`.
        trust: Run code named by the runs, even if it is not on the allowlist of `hemai.settings.trust`.
        prevalence: Fraction of malignant images, above 0 and below 1, to which probabilities and thresholds are
            adjusted; None: they stay as learned.

    Returns:
        The content of `result.json`: `test/<metric>`, `/low` and `/high` (over groups), `/low_images` and
        `/high_images`, `test/ece`, `test/brier`, `test/groups`, `test/images`, `test/<rule>/<metric>` of whole groups,
        `groups_shared` (groups that also occur in training or validation), `prevalence` (None: as learned); on an
        external test set `drop/<metric>`.

    Raises:
        UserError: No such run, predictions that do not match the checkpoint, or an `out` that is not empty.
    """
    check_new_folder(out)
    runs = find_saved_runs(paths, trust)
    names = None if classes is None else read_class_names(classes)
    if not overrides:
        if names:
            raise UserError("--classes applies only to an external test set; add data=NAME")
        return evaluate_test_sets(runs, out, prevalence)
    data = _data(overrides)
    predictions = pool_probabilities(
        [predict_dataset(run.model, data.dataset, names, data.skip_unreadable) for run in runs],
        choose_ensemble_point(runs),
    )
    predictions, notes = _adjust(predictions, runs, prevalence)
    external = ExternalTest(data.dataset, predictions, names)
    evaluation = evaluate(external.merge(predictions))
    notes += describe_look(predictions, runs, data.dataset)
    shared = union_of_shared_groups(run.shared_groups(predictions, data.dataset) for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared), "prevalence": prevalence}
    if have_disjoint_test_sets(runs):
        own, _ = _adjust(pool_test_predictions(runs), runs, prevalence)
        drop = performance_drop(external.merge(own), evaluation.over_groups)
        external, result = replace(external, drop=drop), result | flatten_drop(drop)
    title = f"{data.dataset.name}: {describe_networks(runs)}, trained on {runs[0].metadata['data']}"
    _write(out, title, evaluation, result, report_sections(evaluation, runs, shared, external, notes))
    return result


def evaluate_test_sets(runs: Sequence[SavedRun], out: Path, prevalence: float | None = None) -> dict[str, Any]:
    """Evaluate runs on their own test images, pooled; with several, also mean and spread over runs.

    Returns:
        As `evaluate_runs`, and `runs/<metric>/mean`, `sd`, `lowest` and `highest`.

    Raises:
        UserError: An image was tested by several runs, or `out` cannot be written.
    """
    metadata = runs[0].metadata
    predictions, notes = _adjust(pool_test_predictions(runs), runs, prevalence)
    evaluation = evaluate(predictions)
    notes += describe_look(predictions, runs)
    shared = union_of_shared_groups(run.shared_groups() for run in runs)
    result = evaluation.result() | {"groups_shared": None if shared is None else len(shared), "prevalence": prevalence}
    result |= spread_over_runs(runs)
    title = f"{metadata['data']}: {describe_networks(runs)}"
    _write(out, title, evaluation, result, report_sections(evaluation, runs, shared, notes=notes))
    return result


def evaluate_file(file: Path, out: Path, positive: Sequence[str] = ()) -> dict[str, Any]:
    """Evaluate a csv file of predictions, and write a report.

    Args:
        file: csv, see `hemai.evaluation.prediction_files.read_probabilities`.
        out: New or empty folder.
        positive: Malignant classes.

    Returns:
        As `evaluate_runs`; `groups_shared` is None, as the training groups are unknown.

    Raises:
        UserError: The file cannot be read or lacks columns, or `out` is not empty.
    """
    check_new_folder(out)
    evaluation = evaluate(file, positive)
    result = evaluation.result() | {"groups_shared": None}
    _write(out, f"predictions of {file.name}", evaluation, result, report_sections(evaluation, [], None))
    return result


def _adjust(
    predictions: Predictions, runs: Sequence[SavedRun], prevalence: float | None
) -> tuple[Predictions, list[str]]:
    """Adjust predictions to a stated prevalence, if any, and tell it in a sentence."""
    if prevalence is None:
        return predictions, []
    shift = prior_shift(runs, prevalence, predictions.network)
    return shift.adjust(predictions), [prevalence_sentence(shift)]


def _write(out: Path, title: str, evaluation: Evaluation, result: dict[str, Any], sections: list[Section]) -> None:
    with output_errors(out):
        write_evaluation(evaluation, out, result)
        write_report(out, title, sections)
    print_report(title, sections)
    print(f"written to {out}; open {out / 'report.html'}")


def _data(overrides: Sequence[str]) -> CellDataModule:
    if not any(override.startswith("data=") for override in overrides):
        raise UserError(f"{shorten(overrides)}: expected also data=NAME, such as data=cnmc data.root=DIR")
    unused = [word for word in overrides if not DATA_SETTINGS.match(word) or TRAINING_ONLY.match(word)]
    if unused:
        raise UserError(f"{shorten(unused)}: these settings only affect training; remove them")
    return build_data(compose(parse_arguments(overrides)), ImagePipeline([]))
