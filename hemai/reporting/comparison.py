"""Runs side by side: settings, test metrics, caveats, published results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.metrics import MAIN
from hemai.settings.run_folder import RunFolder, read_overrides, read_selected_configs, read_settings
from hemai.settings.validation import flatten
from hemai.utils.errors import UserError
from hemai.utils.files import write_text
from hemai.utils.terminal import build_table, fits, say, show_table

FILES = ("comparison.csv", "comparison.md")


SEEDS = ("seed", "data.seed", "model.seed")


DATA = ("data", "data.name", "data.root", "data.split", "data.fold", "data.folds", "transform")


MODEL = ("model", "model.backbone", "model.pretrained", "model.weights")


SHOWN = ("plots", "report", "logger", "callbacks")  # they change no metric


SHOWN_ELSEWHERE = (*SEEDS, *DATA, *MODEL, *SHOWN, "trainer.max_epochs", "hydra.searchpath")  # no `other_settings`


# What runs that differ in nothing but the seed may differ in.
MAY_DIFFER = re.compile(
    rf"({'|'.join((*SEEDS, *SHOWN, 'run_dir', 'resume', 'trust', 'threshold', 'published'))})(\.|$)"
)


def compare_runs(paths: Sequence[Path], out: Path | None = None) -> pd.DataFrame:
    """Print a table of runs, and write it.

    Args:
        paths: Run folders, or folders above them.
        out: Folder for `comparison.csv` and `comparison.md`.

    Returns:
        The content of `comparison.csv`, one row a run: its name below the folder common to all, its settings
        (`start`: random, pretrained or a file of weights; `other_settings`: overrides that no other column
        tells), counts and figures of the test images, the figure that its experiment repeats, and in `note`
        what speaks against its figures. Runs that differ in nothing but the seed stand together, followed by
        mean, lowest and highest of each column (the last run of each seed counts). `accuracy_low` and the like are
        95 % limits over groups.

    Raises:
        UserError: A folder without a run, a run that cannot be read, or a file in `out` that would be overwritten.
    """
    if there := [str(out / name) for name in FILES if out and (out / name).exists()]:
        raise UserError(f"--out: {there[0]} is there; choose another folder")
    folders = find_runs(paths)
    above = os.path.commonpath([folder.parent for folder in folders])
    alike: dict[str, list[Row]] = {}
    for folder in folders:
        row, configuration = _read_run(folder, folder.relative_to(above).as_posix())
        alike.setdefault(configuration, []).append(row)
    blocks = [[*rows, *_summarise_seeds(rows)] for rows in alike.values()]
    rows = [row for block in blocks for row in block]
    print_comparison(blocks)
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    if out:
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / FILES[0], table.to_csv(index=False))
            write_text(out / FILES[1], as_markdown(rows))
        except OSError as error:
            raise UserError(f"--out: cannot write to {out} ({error}); choose another folder") from error
        print(f"written to {out}")
    return table


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders at or below `paths`, in their order, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        own = RunFolder(path).config
        configs = [own] if own.is_file() else sorted(path.rglob(".hydra/config.yaml"))
        if not configs:
            expected = "expected lightning_logs/<data>-<model>/<date_time>, or a folder above such runs"
            raise UserError(f"{path} is no run folder (no .hydra/config.yaml in it or below); {expected}")
        found |= dict.fromkeys(config.parent.parent.resolve() for config in configs)
    return list(found)


def _read_run(folder: Path, name: str) -> tuple[Row, str]:
    """The row of a run, and its configuration without what may differ between seeds."""
    try:
        config, overrides = read_settings(folder), read_overrides(folder)
        file = RunFolder(folder).result
        result = json.loads(file.read_text()) if file.is_file() else None
        row = {"run": name, **_settings(config, overrides, read_selected_configs(folder)), **_results(result)}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder} cannot be read as a run of hemai ({reason}); leave it out") from error
    # A key that is null may be missing in an older run.
    same = {key: value for key, value in flatten(config).items() if value is not None and not MAY_DIFFER.match(key)}
    return row, json.dumps(same, sort_keys=True, default=str)


def _settings(config: Row, overrides: Sequence[str], chosen: Mapping[str, str]) -> Row:
    data, model = config["data"], config["model"]
    folds = {"fold": f"fold {data['fold']}", "kfold": f"fold {data['fold']} of {data['folds']}"}
    published = config.get("published") or {}
    return {
        "data": data.get("name") or chosen.get("data"),
        "split": folds.get(data["split"], Path(data["split"]).name),
        "model": model["backbone"],
        "transform": chosen.get("transform"),
        "start": Path(model["weights"]).name if model["weights"] else "pretrained" if model["pretrained"] else "random",
        "other_settings": ", ".join(
            override for override in overrides if override.split("=")[0] not in SHOWN_ELSEWHERE
        ),
        "seed": config["seed"],
        "published_accuracy": published.get("accuracy"),
        "published_source": published.get("source"),
    }


def _results(result: Row | None) -> Row:
    if result is None:
        return {**dict.fromkeys(("epochs", "parameters", *SUMMARISED, *LIMITS)), "note": UNFINISHED}
    groups, shared = result.get("test/groups"), result["groups_shared"]
    doubts = [UNTESTED] if groups is None else [LEAKAGE] * (shared > 0) + [FEW] * (groups < FEW_GROUPS)
    return {
        **{name: result[name] for name in ("epochs", "parameters", "groups_shared")},
        **{name: result.get(f"test/{name}") for name in MAIN},
        **{name: result.get(f"test/{name.replace('_', '/')}") for name in LIMITS},
        "test_images": result.get("test/images"),
        "test_groups": groups,
        "note": "; ".join(doubts),
    }


def _summarise_seeds(rows: Sequence[Row]) -> list[Row]:
    """Mean, lowest and highest of finished runs that differ in nothing but the seed; none for a single seed."""
    runs = list({row["seed"]: row for row in rows if row["note"] != UNFINISHED}.values())
    if len(runs) < 2:
        return []
    common = {name: runs[0][name] if len({row[name] for row in runs}) == 1 else None for name in COLUMNS}
    common["note"] = "; ".join(doubt for doubt in FOOTNOTES if any(doubt in row["note"] for row in runs))
    values = {name: [row[name] for row in runs] for name in SUMMARISED}
    kinds: dict[str, Callable[[Iterable[float]], float]] = {"mean": fmean, "lowest": min, "highest": max}
    return [
        {
            **common,
            **{name: None if None in numbers else summary(numbers) for name, numbers in values.items()},
            "run": f"{kind} of {len(runs)} seeds",
        }
        for kind, summary in kinds.items()
    ]


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
