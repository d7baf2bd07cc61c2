"""How runs are shown side by side: columns, footnotes, terminal and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.metrics import MAIN
from hemai.utils.terminal import build_table, fits, say, show_table

Row = dict[str, Any]
TEXT_SETTINGS = ("data", "split", "model", "transform", "start", "other_settings")
SETTINGS = (*TEXT_SETTINGS, "seed", "epochs", "parameters", "test_images")
RESULTS = ("test_groups", "groups_shared", "accuracy", "published_accuracy", *MAIN[1:])
LIMITS = tuple(f"{figure}_{limit}" for figure in ("accuracy", "auroc") for limit in ("low", "high"))
COLUMNS = ("run", *SETTINGS, *RESULTS, *LIMITS, "published_source", "note")
TEXT_COLUMNS = ("run", *TEXT_SETTINGS, "published_source", "note")
SUMMARISED = ("test_images", "test_groups", "groups_shared", *MAIN)
LEAKAGE, FEW, UNFINISHED = "groups shared", f"fewer than {FEW_GROUPS} test groups", "unfinished"
UNTESTED = "not tested"
FOOTNOTE_MARKS = {"groups_shared": ("*", LEAKAGE), "test_groups": ("†", FEW)}
FOOTNOTES = {
    LEAKAGE: "* groups stand in more than one split: these figures say nothing of new patients",
    FEW: f"† {FEW}: another split may give quite other figures",
    UNTESTED: "not tested: no image is in test",
    UNFINISHED: "unfinished: in training, or stopped; python train.py resume=RUN_FOLDER goes on with it",
}


def print_comparison(blocks: Sequence[Sequence[Row]]) -> None:
    """What all runs share, then one table; if the terminal is too narrow, a line a run and a table of figures.

    Args:
        blocks: Runs that differ in nothing but the seed, followed by their summaries.
    """
    rows = [row for block in blocks for row in block]
    texts = {name: {_shown(name, row) for row in rows} - {"", "-"} for name in SETTINGS}
    differ = [name for name in SETTINGS if len(texts[name]) > 1]
    shared = {name: row[name] for name in SETTINGS for row in rows if len(texts[name]) == 1 and row[name] is not None}
    lines = ["all runs: " * (len(rows) > 1) + _told(shared, SETTINGS)]
    published = any(row["published_accuracy"] is not None for row in rows)
    results = [name for name in RESULTS if name != "published_accuracy" or published]
    limits = [name for name in LIMITS if any(row.get(name) is not None for row in rows)]
    shown = _cells(["run", *differ, *results, *limits], blocks)
    if not fits(build_table(*shown)):
        shown = _cells(["run", *differ, *results], blocks)
    if not fits(build_table(*shown)):
        shown = _cells(["run", *results], blocks)
        runs = [row for row in rows if row["seed"] is not None]  # all but summaries
        numbers = {} if fits(build_table(*shown)) else {row["run"]: str(i) for i, row in enumerate(runs, start=1)}
        for row in runs:
            lines.append(f"{numbers.get(row['run'], '')} {_shown('run', row)}: {_told(row, differ)}".strip(": "))
        if numbers:
            short = [[{**row, "run": numbers.get(row["run"], row["run"])} for row in block] for block in blocks]
            shown = _cells(["run", *results], short)
    frame, texts_first, ends = shown
    print(*lines, sep="\n")
    show_table(frame, texts=texts_first, ends=ends)
    say(*_sentences(rows))


def _cells(names: Sequence[str], blocks: Sequence[Sequence[Row]]) -> tuple[pd.DataFrame, int, list[int]]:
    """Cells of a table, the number of its columns of text, and the rows after which a line stands."""
    rows, ends = [], []
    for block in blocks:
        for row in block:
            cells = {name: _shown(name, row) for name in names}
            for name, (mark, doubt) in FOOTNOTE_MARKS.items():
                cells[name] = mark * (doubt in row["note"]) + cells[name]
            rows.append(list(cells.values()))
        if len(block) > 1:
            ends.append(len(rows) - 1)
    frame = pd.DataFrame(rows, columns=[name.replace("_", "\n") for name in names])
    return frame, sum(name in TEXT_COLUMNS for name in names), ends


def _told(row: Row, names: Sequence[str]) -> str:
    told = {name: _shown(name, row) for name in names if row.get(name) not in (None, "")}
    return ", ".join(
        text if name == "other_settings" else f"{name.replace('_', ' ')}={text}" for name, text in told.items()
    )


def _shown(name: str, row: Row) -> str:
    value = row.get(name)
    if value is None or value == "":
        return "-" if name in SUMMARISED else ""
    if name == "run":
        return f"{value} (unfinished)" if row["note"] == UNFINISHED else str(value)
    if name in (*MAIN, *LIMITS, "published_accuracy"):
        return f"{value:.4f}"
    is_count = isinstance(value, (int, float)) and name != "seed"
    return f"{value:,.1f}".removesuffix(".0") if is_count else str(value)


def _sentences(rows: Sequence[Row]) -> list[str]:
    sources = {(row["published_accuracy"], row["published_source"]) for row in rows if row["published_accuracy"]}
    published = [f"published {accuracy:.4f}: {source}" for accuracy, source in sorted(sources)]
    return published + [text for doubt, text in FOOTNOTES.items() if any(doubt in row["note"] for row in rows)]


def as_markdown(rows: Sequence[Row]) -> str:
    """The same as a table of Markdown, with its sentences below."""
    names = [name for name in COLUMNS if any(row[name] not in (None, "") for row in rows)]
    names = [name for name in names if name != "published_source"]  # below the table, once
    lines = [
        [name.replace("_", " ") for name in names],
        ["---" if name in TEXT_COLUMNS else "---:" for name in names],
        *([_shown(name, row).replace("|", "\\|") for name in names] for row in rows),
    ]
    sentences = [f"- {sentence.lstrip('*† ')}" for sentence in _sentences(rows)]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), *[""][: len(sentences)], *sentences, ""])
