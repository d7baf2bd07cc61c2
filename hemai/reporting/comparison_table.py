"""Table that compares runs: columns, footnotes, terminal and Markdown output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.metrics import MAIN
from hemai.reporting.templating import escape_markdown
from hemai.utils.terminal import build_table, fits, say, show_table

Row = dict[str, Any]
TEXT_SETTINGS = ("data", "split", "model", "transform", "start", "other_settings")
SETTINGS = (*TEXT_SETTINGS, "seed", "epochs", "parameters", "test_images")
SCORE = "validation_score"  # monitored metric of the best epoch, of a run without a test
RESULTS = ("test_groups", "groups_shared", "accuracy", "published_accuracy", *MAIN[1:], SCORE)
LIMITS = tuple(f"{metric}_{limit}" for metric in ("accuracy", "auroc") for limit in ("low", "high"))
COLUMNS = ("run", *SETTINGS, *RESULTS, *LIMITS, "published_source", "note")
TEXT_COLUMNS = ("run", *TEXT_SETTINGS, "published_source", "note")
SUMMARISED = ("test_images", "test_groups", "groups_shared", *MAIN)
LEAKAGE, FEW, UNFINISHED = "groups shared", f"fewer than {FEW_GROUPS} test groups", "unfinished"
UNTESTED, PERMUTED = "not tested", "negative control"
FOOTNOTE_MARKS = {"groups_shared": ("*", LEAKAGE), "test_groups": ("†", FEW)}
FOOTNOTES = {
    PERMUTED: f"{PERMUTED}: labels were permuted between groups, so these metrics should be those of chance",
    LEAKAGE: "* groups occur in more than one split: these metrics do not estimate performance on new patients",
    FEW: f"† {FEW}: another split may give quite different metrics",
    UNTESTED: "not tested: the test set is empty",
    UNFINISHED: "unfinished: still training, or stopped; continue with python train.py resume=RUN_FOLDER",
}


def print_comparison(blocks: Sequence[Sequence[Row]]) -> None:
    """Print settings common to all runs, then a table; in a narrow terminal a line per run and a table of metrics.

    Args:
        blocks: Rows of runs that differ only in the seed, followed by their summaries.
    """
    rows = [row for block in blocks for row in block]
    texts = {name: {_format(name, row) for row in rows} - {"", "-"} for name in SETTINGS}
    differ = [name for name in SETTINGS if len(texts[name]) > 1]
    shared = {name: row[name] for name in SETTINGS for row in rows if len(texts[name]) == 1 and row[name] is not None}
    lines = ["all runs: " * (len(rows) > 1) + _settings_text(shared, SETTINGS)]
    shown_if_any = ("published_accuracy", SCORE)
    results = [name for name in RESULTS if name not in shown_if_any or any(row[name] is not None for row in rows)]
    limits = [name for name in LIMITS if any(row.get(name) is not None for row in rows)]
    shown = _cells(["run", *differ, *results, *limits], blocks)
    if not fits(build_table(*shown)):
        shown = _cells(["run", *differ, *results], blocks)
    if not fits(build_table(*shown)):
        shown = _cells(["run", *results], blocks)
        runs = [row for row in rows if row["seed"] is not None]  # without summaries
        numbers = {} if fits(build_table(*shown)) else {row["run"]: str(i) for i, row in enumerate(runs, start=1)}
        for row in runs:
            lines.append(
                f"{numbers.get(row['run'], '')} {_format('run', row)}: {_settings_text(row, differ)}".strip(": ")
            )
        if numbers:
            short = [[{**row, "run": numbers.get(row["run"], row["run"])} for row in block] for block in blocks]
            shown = _cells(["run", *results], short)
    frame, n_texts, ends = shown
    print(*lines, sep="\n")
    show_table(frame, texts=n_texts, ends=ends)
    say(*_footnotes(rows))


def _cells(names: Sequence[str], blocks: Sequence[Sequence[Row]]) -> tuple[pd.DataFrame, int, list[int]]:
    """Cells of a table, the number of its text columns, and the rows that are followed by a rule."""
    rows, ends = [], []
    for block in blocks:
        for row in block:
            cells = {name: _format(name, row) for name in names}
            for name, (mark, caveat) in FOOTNOTE_MARKS.items():
                cells[name] = mark * (caveat in row["note"]) + cells[name]
            rows.append(list(cells.values()))
        if len(block) > 1:
            ends.append(len(rows) - 1)
    frame = pd.DataFrame(rows, columns=[name.replace("_", "\n") for name in names])
    return frame, sum(name in TEXT_COLUMNS for name in names), ends


def _settings_text(row: Row, names: Sequence[str]) -> str:
    texts = {name: _format(name, row) for name in names if row.get(name) not in (None, "")}
    return ", ".join(
        text if name == "other_settings" else f"{name.replace('_', ' ')}={text}" for name, text in texts.items()
    )


def _format(name: str, row: Row) -> str:
    value = row.get(name)
    if value is None or value == "":
        return "-" if name in SUMMARISED else ""
    if name == "run":
        return f"{value} (unfinished)" if row["note"] == UNFINISHED else str(value)
    if name in (*MAIN, *LIMITS, "published_accuracy", SCORE):
        return f"{value:.4f}"
    is_count = isinstance(value, (int, float)) and name != "seed"
    return f"{value:,.1f}".removesuffix(".0") if is_count else str(value)


def _footnotes(rows: Sequence[Row]) -> list[str]:
    sources = {(row["published_accuracy"], row["published_source"]) for row in rows if row["published_accuracy"]}
    published = [f"published {accuracy:.4f}: {source}" for accuracy, source in sorted(sources)]
    return published + [text for caveat, text in FOOTNOTES.items() if any(caveat in row["note"] for row in rows)]


def as_markdown(rows: Sequence[Row]) -> str:
    """Comparison of runs as a Markdown table, with its footnotes below."""
    names = [name for name in COLUMNS if any(row[name] not in (None, "") for row in rows)]
    names = [name for name in names if name != "published_source"]  # below the table, once
    lines = [
        [name.replace("_", " ") for name in names],
        ["---" if name in TEXT_COLUMNS else "---:" for name in names],
        *([escape_markdown(_format(name, row)) for name in names] for row in rows),
    ]
    footnotes = [f"- {footnote.lstrip('*† ')}" for footnote in _footnotes(rows)]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), *[""][: len(footnotes)], *footnotes, ""])
