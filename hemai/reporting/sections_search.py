"""Section on the search of settings of which a run is the best."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hemai.reporting.document import Section
from hemai.reporting.text import format_number, plural
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError, one_line
from hemai.utils.files import read_regular_file

COUNTS = ("settings", "completed", "pruned", "failed", "trainings", "folds", "trial")
ENDS = {"completed": "trained to the end", "pruned": "stopped early (behind the median)", "failed": "failed"}


def search_sections(runs: Sequence[SavedRun]) -> list[Section]:
    """Section that tells how many settings were tried; empty list for runs that are not the best of a search.

    Raises:
        UserError: `search.json` of a run is damaged.
    """
    tried = [run.folder.search for run in runs if run.folder is not None and run.folder.search.is_file()]
    return [Section("Search of settings", _sentences(_read(file)), is_brief=True) for file in tried]


def _sentences(tried: dict[str, Any]) -> list[str]:
    ends = ", ".join(f"{tried[state]:,} {words}" for state, words in ENDS.items())
    settings, folds = plural(tried["settings"], "setting"), tried["folds"]
    return [
        f"{settings} were tried, in {plural(tried['trainings'], 'training')}: {ends}. This run trained the best "
        f"(trial {tried['trial']}) again, on the patients of all {folds} folds.",
        f"The best has {tried['monitor']} {format_number(tried['score'])}, the mean over {folds} folds of validation "
        f"patients. It is the best of {settings}, and of all epochs, chosen on these patients: so it is "
        "optimistic, and no estimate for new ones.",
        "The test images were predicted once, after the choice, by this run alone: its test metrics were not chosen "
        "among several.",
    ]


def _read(file: Path) -> dict[str, Any]:
    try:
        tried = json.loads(read_regular_file(file))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); restore it, or delete it") from error
    if (
        not isinstance(tried, dict)
        or not all(isinstance(tried.get(name), int) for name in COUNTS)
        or not isinstance(tried.get("score"), int | float)
        or not isinstance(tried.get("monitor"), str)
    ):
        raise UserError(
            f"{file}: expected the counts, monitor and score that hemai tune wrote; restore it, or delete it"
        )
    return tried
