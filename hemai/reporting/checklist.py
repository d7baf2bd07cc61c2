"""Checklists of reporting guidelines, filled with what runs know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hemai.evaluation.summary import evaluate
from hemai.reporting.checklist_facts import FACTS_OF_RUNS
from hemai.reporting.checklist_results import FACTS_OF_RESULTS
from hemai.reporting.document import Section, Table, write_page
from hemai.reporting.study import Study
from hemai.runs.ensemble import describe_networks, find_saved_runs, pool_test_predictions
from hemai.utils.errors import UserError, did_you_mean
from hemai.utils.files import csv_text, read_table, write_text

FOLDER = Path(__file__).parent / "checklists"
FOR_THE_AUTHOR = "for the author"
FACTS = {**FACTS_OF_RUNS, **FACTS_OF_RESULTS}  # a fact that is None is not known: the item is for the author
COLUMNS = ["item", "part", "topic", "known", "where"]


@dataclass(frozen=True)
class Guideline:
    """Name and source of a reporting guideline; its items are in `checklists/`."""

    title: str
    source: str


GUIDELINES = {
    "claim": Guideline("CLAIM, 2024 update", "Tejani et al., Radiol Artif Intell 6 (2024) e240300"),
    "tripod": Guideline("TRIPOD+AI", "Collins et al., BMJ 385 (2024) e078378"),
    "stard": Guideline("STARD-AI", "Sounderajah et al., Nat Med 31 (2025) 3283"),
}


def fill_checklist(name: str, study: Study) -> pd.DataFrame:
    """Fill a checklist with what a study knows.

    Args:
        name: One of `GUIDELINES`.
        study: Runs and their results.

    Returns:
        One row per item: `item` (its number in the guideline), `part`, `topic` (in our words), `known` (what the runs
        know, or "for the author") and `where` (sections of the report and files).
    """
    rows = []
    for row in read_table(FOLDER / f"{name}.csv", "checklist", ["item", "part", "topic", "facts"]).to_dict("records"):
        facts = [fact for key in row["facts"].split() if (fact := FACTS[key](study)) is not None]
        known = "; ".join(text for text, _ in facts) or FOR_THE_AUTHOR
        rows.append(
            [row["item"], row["part"], row["topic"], known, "; ".join(dict.fromkeys(where for _, where in facts))]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def report_checklist(folder: Path, name: str, trust: bool = False) -> pd.DataFrame:
    """Write `checklist_<name>.csv` and `checklist_<name>.html` into the folder of a run or of a cross-validation.

    Args:
        folder: Folder of a finished run, or of the folds of a cross-validation.
        name: One of `GUIDELINES`.
        trust: Run code named by the folder, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: An unknown checklist, no finished run with test images, or the folder cannot be written.
    """
    if (guideline := GUIDELINES.get(name)) is None:
        raise UserError(f"--checklist {name}{did_you_mean(name, GUIDELINES)} (expected {', '.join(GUIDELINES)})")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected the folder of a finished run, or of a cross-validation")
    runs = find_saved_runs([folder], trust)
    table = fill_checklist(name, Study(runs, evaluate(pool_test_predictions(runs))))
    title = f"{guideline.title}: {runs[0].metadata['data']}, {describe_networks(runs)}"
    file = folder / f"checklist_{name}"
    try:
        write_text(file.with_suffix(".csv"), csv_text(table))
        write_page(file.with_suffix(".html"), title, _sections(table, guideline))
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error}); free disk space, or make it writable") from error
    print(f"{_count(table)}\nchecklist:  {file.with_suffix('.html')}")
    return table


def _count(table: pd.DataFrame) -> str:
    left = int((table["known"] == FOR_THE_AUTHOR).sum())
    return f"{len(table) - left} of {len(table)} items: something is known to the runs; {left} are for the author."


def _sections(table: pd.DataFrame, guideline: Guideline) -> list[Section]:
    shown = table.assign(topic=table["item"] + ". " + table["topic"])[["topic", "known", "where"]]
    shown.columns = ["item", "what the runs know", "where"]
    sentences = [
        _count(table),
        "What the runs know is a draft for the author, not proof that an item is reported. Items are in our own words, "
        f"numbered as in the guideline: {guideline.source}. “report” is report.html.",
    ]
    return [Section("Items", sentences, [Table(shown, texts=3)])]
