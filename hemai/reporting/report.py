"""Assemble the report of an evaluation and the runs behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hemai.data.datamodule import CellDataModule
from hemai.evaluation.external_test import ExternalTest
from hemai.evaluation.shortcuts import (
    external_feature_predictions,
    feature_predictions,
    shortcut_table,
)
from hemai.evaluation.summary import Evaluation, evaluate
from hemai.reporting.document import Section, write_report
from hemai.reporting.looks import describe_look
from hemai.reporting.model_card import write_model_card
from hemai.reporting.sections_attribution import attribution_section
from hemai.reporting.sections_conformal import conformal_sections
from hemai.reporting.sections_controls import control_sections
from hemai.reporting.sections_dataset import dataset_sections
from hemai.reporting.sections_decisions import calibration_section, threshold_sections
from hemai.reporting.sections_flow import flow_sections
from hemai.reporting.sections_images import area_sections, errors_section, shortcuts_section
from hemai.reporting.sections_results import curves_section, drop_section, group_sections, results_section
from hemai.reporting.sections_search import search_sections
from hemai.reporting.sections_summary import summary_section
from hemai.reporting.sections_training import limitations_section, reproduce_sections, training_sections
from hemai.runs.changed_images import ChangedImagesError
from hemai.runs.ensemble import describe_networks, union_of_shared_groups
from hemai.runs.ensemble_threshold import threshold_facts
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError


def report_sections(
    evaluation: Evaluation,
    runs: Sequence[SavedRun],
    shared: Sequence[str] | None,
    external: ExternalTest | None = None,
    notes: Sequence[str] = (),
) -> list[Section]:
    """Assemble all sections of a report, the most important first.

    Args:
        evaluation: Results of the runs.
        runs: One run, the folds of a cross-validation, or an ensemble; empty for a file of predictions.
        shared: Evaluated groups that also occur in training or validation; None: unknown.
        external: External test set; None for the runs' own test images.
        notes: Sentences on how these images were tested.
    """
    modules, missing = _modules(runs)
    baselines = _baselines(evaluation, modules, external) if modules else None
    images = external.dataset if external else modules[0].dataset if modules else None
    own = runs[0] if len(runs) == 1 and external is None else None  # its folder already has plots of these images
    duplicates_of = modules[0] if modules and external is None else None
    return [
        *control_sections(runs),
        summary_section(evaluation, runs, shared, baselines, external),
        results_section(evaluation, shared, baselines),
        *([Section("About this test", notes, is_brief=True)] if notes else []),
        *search_sections(runs),
        *([drop_section(external.drop)] if external and external.drop is not None else []),
        *dataset_sections(images, runs),
        *flow_sections(evaluation.predictions, runs, external),
        *training_sections(runs),
        curves_section(evaluation, own),
        *threshold_sections(evaluation, threshold_facts(runs, external is not None)),
        calibration_section(evaluation, runs),
        *group_sections(evaluation),
        *conformal_sections(evaluation, runs),
        *([errors_section(evaluation, own, images)] if images else []),
        *([attribution_section(own.model, evaluation.predictions, images)] if own and images else []),
        *([shortcuts_section(baselines, evaluation.kind, duplicates_of)] if baselines is not None else []),
        *(area_sections(evaluation.predictions, modules) if modules and external is None else []),
        limitations_section(runs, images, missing, external is None),
        *reproduce_sections(runs),
    ]


def _modules(runs: Sequence[SavedRun]) -> tuple[list[CellDataModule], str]:
    try:
        return [run.data() for run in runs], ""
    except ChangedImagesError:  # images that moved are left out of the report; other ones would make it wrong
        raise
    except UserError as error:
        return [], str(error)


def _baselines(
    evaluation: Evaluation, modules: Sequence[CellDataModule], external: ExternalTest | None
) -> pd.DataFrame:
    if external:
        parts = [external_feature_predictions(modules[0], external.dataset, external.predictions.table)]
        parts = [{name: external.merge(predictions) for name, predictions in part.items()} for part in parts]
    else:
        parts = [feature_predictions(data) for data in modules]
    return shortcut_table(parts, evaluation.predictions)


def report_run(folder: Path, trust: bool = False) -> None:
    """Write `report.html`, `report.md` and `model_card.md` into the folder of a run, replacing old ones.

    Args:
        folder: Folder of a finished run.
        trust: Run code named by the folder, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: No finished run with test images, or the folder cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected the folder of a finished run")
    run = SavedRun(folder, trust)
    evaluation = evaluate(run.predictions())
    title = f"{run.metadata['data']}: {describe_networks([run])}"
    shared, notes = union_of_shared_groups([run.shared_groups()]), describe_look(evaluation.predictions, [run])
    sections = report_sections(evaluation, [run], shared, notes=notes)
    try:
        write_report(folder, title, sections)
        write_model_card(folder, evaluation, run, sections)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error}); free disk space, or make it writable") from error
    print(f"report:     {folder / 'report.html'}")
