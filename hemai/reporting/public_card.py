"""Model card that leaves the machine: without paths, and without the names of patients."""

from __future__ import annotations

import os
import shlex

from hemai.evaluation.summary import evaluate
from hemai.reporting.document import Section
from hemai.reporting.model_card import model_card
from hemai.reporting.sections_controls import control_sections
from hemai.reporting.sections_decisions import calibration_section, threshold_sections
from hemai.reporting.sections_results import group_sections, results_section
from hemai.runs.ensemble import union_of_shared_groups
from hemai.runs.ensemble_threshold import threshold_facts
from hemai.runs.exported_folder import CARD, is_exported
from hemai.runs.saved_run import SavedRun
from hemai.settings.overrides import unquote
from hemai.settings.run_folder import read_overrides
from hemai.utils.errors import shorten

EXAMPLE = "hemai predict hf-hub:OWNER/NAME IMAGES --out FILE.csv"


def public_card(run: SavedRun) -> str:
    """Text of the model card of an exported run; of a run that was exported before, the card that it has.

    Raises:
        UserError: Predictions that do not match the checkpoint.
    """
    if is_exported(run.local) and (card := run.local / CARD).is_file():
        return card.read_text("utf-8")
    evaluation, sections = None, control_sections([run])
    if run.has_predictions():
        evaluation = evaluate(run.predictions())
        shared = union_of_shared_groups([run.shared_groups()])
        names = f" ({shorten(shared or [])})"  # as in the sentence on leakage
        found = [
            results_section(evaluation, shared, None),
            *threshold_sections(evaluation, threshold_facts([run], False)),
            calibration_section(evaluation, [run]),
            *group_sections(evaluation),
        ]
        sections += [
            Section(section.heading, [each.replace(names, "") for each in section.sentences], is_brief=section.is_brief)
            for section in found
        ]
    return model_card(run, evaluation, sections, EXAMPLE, public_command(run), public_split(run))


def public_split(run: SavedRun) -> str:
    """Rule of the split; of a file only that it is one."""
    split = str(run.metadata.get("split", "unknown"))
    return "file" if _is_path(split) or split.endswith(".csv") else split


def public_command(run: SavedRun) -> str:
    """Command that repeats the training, without the paths of this machine; empty without a run folder."""
    if run.folder is None or not run.folder.overrides.is_file():
        return ""
    parts = (unquote(override).partition("=") for override in read_overrides(run.folder.folder))
    shown = [f"{key}{sign}{'PATH' if _is_path(value) else value}" for key, sign, value in parts]
    return shlex.join(["python", "train.py", *shown])


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text
