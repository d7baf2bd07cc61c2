"""`hemai compare`: runs side by side, with what was published beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from yaml import YAMLError

from hemai.checks import flat
from hemai.config import choices
from hemai.errors import UserError
from hemai.files import write_text

Row = dict[str, Any]
WORDS = ("data", "split", "model", "transform", "start", "other_settings")
SETTINGS = (*WORDS, "seed", "epochs", "parameters", "test_images")
FIGURES = ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc")
RESULTS = ("test_groups", "groups_shared", "accuracy", "published_accuracy", *FIGURES[1:])
COLUMNS = ("run", *SETTINGS, *RESULTS, "published_source", "note")
TEXTS = ("run", *WORDS, "published_source", "note")
SUMMARISED = ("test_images", "test_groups", "groups_shared", *FIGURES)
FILES = ("comparison.csv", "comparison.md")

SEEDS = ("seed", "data.seed", "model.seed")
DATA = ("data", "data.name", "data.root", "data.split", "data.fold", "data.folds", "transform")
MODEL = ("model", "model.backbone", "model.pretrained", "model.weights")
TOLD = (*SEEDS, *DATA, *MODEL, "trainer.max_epochs", "run_dir", "resume")  # no `other_settings`

FEW_GROUPS = 5
LEAKAGE, FEW, UNFINISHED = "groups shared", f"fewer than {FEW_GROUPS} test groups", "unfinished"
UNTESTED = "not tested"
MARKS = {"groups_shared": ("*", LEAKAGE), "test_groups": ("†", FEW)}
MEANING = {
    LEAKAGE: "* groups stand in more than one split: these figures say nothing of new patients",
    FEW: f"† {FEW}: another split may give quite other figures",
    UNTESTED: "not tested: no image is in test",
    UNFINISHED: "unfinished: in training, or stopped; python train.py resume=RUN_FOLDER goes on with it",
}


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
        mean, lowest and highest of each column (the last run of each seed counts).

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
    blocks = [[*rows, *_over_seeds(rows)] for rows in alike.values()]
    rows = [row for block in blocks for row in block]
    _print(blocks, rows)
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    if out:
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / FILES[0], table.to_csv(index=False))
            write_text(out / FILES[1], _markdown(rows))
        except OSError as error:
            raise UserError(f"--out: cannot write to {out} ({error}); choose another folder") from error
        print(f"written to {out}")
    return table


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders at or below `paths`, in their order, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        own = path / ".hydra" / "config.yaml"
        configs = [own] if own.is_file() else sorted(path.rglob(".hydra/config.yaml"))
        if not configs:
            expected = "expected lightning_logs/<data>-<model>/<date_time>, or a folder above such runs"
            raise UserError(f"{path} is no run folder (no .hydra/config.yaml in it or below); {expected}")
        found |= dict.fromkeys(config.parent.parent.resolve() for config in configs)
    return list(found)


def _read_run(folder: Path, name: str) -> tuple[Row, str]:
    """The row of a run, and its configuration without what may differ between seeds."""
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "config.yaml"))
        overrides = [str(override) for override in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
        file = folder / "result.json"
        result = json.loads(file.read_text()) if file.is_file() else None
        row = {"run": name, **_settings(config, overrides), **_results(result)}
    except (OSError, YAMLError, OmegaConfBaseException, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder} cannot be read as a run of hemai ({reason}); leave it out") from error
    apart = (*SEEDS, "run_dir", "resume", "published.accuracy", "published.source")
    # A key that is null may be missing in an older run.
    same = {key: value for key, value in flat(config).items() if value is not None and key not in apart}
    return row, json.dumps(same, sort_keys=True, default=str)


def _settings(config: Row, overrides: Sequence[str]) -> Row:
    data, model, chosen = config["data"], config["model"], choices(overrides)
    folds = {"fold": f"fold {data['fold']}", "kfold": f"fold {data['fold']} of {data['folds']}"}
    published = config.get("published") or {}
    return {
        "data": data.get("name") or chosen.get("data"),
        "split": folds.get(data["split"], Path(data["split"]).name),
        "model": model["backbone"],
        "transform": chosen.get("transform"),
        "start": Path(model["weights"]).name if model["weights"] else "pretrained" if model["pretrained"] else "random",
        "other_settings": ", ".join(override for override in overrides if override.split("=")[0] not in TOLD),
        "seed": config["seed"],
        "published_accuracy": published.get("accuracy"),
        "published_source": published.get("source"),
    }


def _results(result: Row | None) -> Row:
    if result is None:
        return {**dict.fromkeys(("epochs", "parameters", *SUMMARISED)), "note": UNFINISHED}
    groups, shared = result.get("test/groups"), result["groups_shared"]
    doubts = [UNTESTED] if groups is None else [LEAKAGE] * (shared > 0) + [FEW] * (groups < FEW_GROUPS)
    return {
        **{name: result[name] for name in ("epochs", "parameters", "groups_shared")},
        **{name: result.get(f"test/{name}") for name in FIGURES},
        "test_images": result.get("test/images"),
        "test_groups": groups,
        "note": "; ".join(doubts),
    }


def _over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Mean, lowest and highest of finished runs that differ in nothing but the seed; none for a single seed."""
    runs = list({row["seed"]: row for row in rows if row["note"] != UNFINISHED}.values())
    if len(runs) < 2:
        return []
    common = {name: runs[0][name] if len({row[name] for row in runs}) == 1 else None for name in COLUMNS}
    common["note"] = "; ".join(doubt for doubt in MEANING if any(doubt in row["note"] for row in runs))
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


def _print(blocks: Sequence[Sequence[Row]], rows: Sequence[Row]) -> None:
    """What all runs share, then one table; if the terminal is too narrow, a line a run and a table of figures."""
    console = Console()
    texts = {name: {_shown(name, row) for row in rows} - {"", "-"} for name in SETTINGS}
    differ = [name for name in SETTINGS if len(texts[name]) > 1]
    shared = {name: row[name] for name in SETTINGS for row in rows if len(texts[name]) == 1 and row[name] is not None}
    lines = ["all runs: " * (len(rows) > 1) + _told(shared, SETTINGS)]
    published = any(row["published_accuracy"] is not None for row in rows)
    results = [name for name in RESULTS if name != "published_accuracy" or published]
    table = _table(["run", *differ, *results], blocks)
    if not _fits(table, console):
        table = _table(["run", *results], blocks)
        runs = [row for row in rows if row["seed"] is not None]  # all but summaries
        numbers = {} if _fits(table, console) else {row["run"]: str(i) for i, row in enumerate(runs, start=1)}
        for row in runs:
            lines.append(f"{numbers.get(row['run'], '')} {_shown('run', row)}: {_told(row, differ)}".strip(": "))
        if numbers:
            short = [[{**row, "run": numbers.get(row["run"], row["run"])} for row in block] for block in blocks]
            table = _table(["run", *results], short)
    for part in (*lines, table, *(f"- {sentence}" for sentence in _sentences(rows))):
        console.print(part, highlight=False, markup=False, soft_wrap=True)  # wrapped by the terminal, not cut off


def _table(names: Sequence[str], blocks: Sequence[Sequence[Row]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        heading, is_text = name.replace("_", "\n"), name in TEXTS
        # Names may be folded, figures must not be cut off.
        least = len("(unfinished)") if name == "run" else max(6, *map(len, heading.split("\n")))
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold", min_width=least)
    for block in blocks:
        for row in block:
            cells = {name: _shown(name, row) for name in names}
            for name, (mark, doubt) in MARKS.items():
                cells[name] = mark * (doubt in row["note"]) + cells[name]
            table.add_row(*map(escape, cells.values()))
        if len(block) > 1:
            table.add_section()
    return table


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


def _told(row: Row, names: Sequence[str]) -> str:
    told = {name: _shown(name, row) for name in names if row.get(name) not in (None, "")}
    return ", ".join(
        text if name == "other_settings" else f"{name.replace('_', ' ')}={text}" for name, text in told.items()
    )


def _shown(name: str, row: Row) -> str:
    value = row[name]
    if value is None or value == "":
        return "-" if name in SUMMARISED else ""
    if name == "run":
        return f"{value} (unfinished)" if row["note"] == UNFINISHED else str(value)
    if name in (*FIGURES, "published_accuracy"):
        return f"{value:.4f}"
    is_count = isinstance(value, (int, float)) and name != "seed"
    return f"{value:,.1f}".removesuffix(".0") if is_count else str(value)


def _sentences(rows: Sequence[Row]) -> list[str]:
    sources = {(row["published_accuracy"], row["published_source"]) for row in rows if row["published_accuracy"]}
    published = [f"published {accuracy:.4f}: {source}" for accuracy, source in sorted(sources)]
    return published + [text for doubt, text in MEANING.items() if any(doubt in row["note"] for row in rows)]


def _markdown(rows: Sequence[Row]) -> str:
    names = [name for name in COLUMNS if any(row[name] not in (None, "") for row in rows)]
    names = [name for name in names if name != "published_source"]  # below the table, once
    lines = [
        [name.replace("_", " ") for name in names],
        ["---" if name in TEXTS else "---:" for name in names],
        *([_shown(name, row).replace("|", "\\|") for name in names] for row in rows),
    ]
    sentences = [f"- {sentence.lstrip('*† ')}" for sentence in _sentences(rows)]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), *[""][: len(sentences)], *sentences, ""])
