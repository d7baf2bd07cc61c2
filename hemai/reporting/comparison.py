"""Compare runs: settings, test metrics, caveats, published results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.metrics import MAIN
from hemai.reporting.comparison_table import (
    COLUMNS,
    FEW,
    FOOTNOTES,
    LEAKAGE,
    LIMITS,
    PERMUTED,
    SCORE,
    SUMMARISED,
    UNFINISHED,
    UNTESTED,
    Row,
    as_markdown,
    print_comparison,
)
from hemai.runs.exported_folder import is_exported
from hemai.runs.hub import is_on_hub
from hemai.settings.run_folder import (
    INNER,
    RunFolder,
    check_sections,
    read_overrides,
    read_result,
    read_selected_configs,
    read_settings,
)
from hemai.settings.validation import flatten
from hemai.utils.errors import UserError, one_line
from hemai.utils.files import csv_text, output_errors, write_text

FILES = ("comparison.csv", "comparison.md")
SEEDS = ("seed", "data.seed", "model.seed")
DATA = ("data", "data.name", "data.root", "data.split", "data.fold", "data.folds", "transform")
MODEL = ("model", "model.backbone", "model.pretrained", "model.weights")
SHOWN = ("plots", "report", "logger", "callbacks")  # settings that change no metric
SHOWN_ELSEWHERE = (*SEEDS, *DATA, *MODEL, *SHOWN, "trainer.max_epochs", "hydra.searchpath")  # not in `other_settings`
# Settings that may differ between repetitions of a run with other seeds.
MAY_DIFFER = re.compile(
    rf"({'|'.join((*SEEDS, *SHOWN, 'run_dir', 'resume', 'trust', 'threshold', 'published'))})(\.|$)"
)


def compare_runs(paths: Sequence[Path], out: Path | None = None) -> pd.DataFrame:
    """Print a table of runs, and write it as csv and Markdown.

    Args:
        paths: Run folders, or folders above them.
        out: Folder for `comparison.csv` and `comparison.md`.

    Returns:
        The content of `comparison.csv`, one row per run: its path below the common parent folder, its settings
        (`start`: random, pretrained or a file of weights; `other_settings`: overrides without a column of their
        own), counts and metrics of the test images, the published accuracy that its experiment reproduces, and
        caveats in `note`; of runs without a test the monitored metric, `validation_score`. Runs that differ only in
        the seed are adjacent, followed by mean, lowest and highest of each column (the last run of each seed counts).
        `accuracy_low` and the like are 95 % limits over groups.

    Raises:
        UserError: A folder without a run, an unreadable run, or a file in `out` that already exists.
    """
    if existing := [str(out / name) for name in FILES if out and (out / name).exists()]:
        raise UserError(f"--out: {existing[0]} already exists; choose another folder")
    folders = find_runs(paths)
    common_parent = os.path.commonpath([folder.parent for folder in folders])
    runs_by_config: dict[str, list[Row]] = {}
    for folder in folders:
        row, configuration = _read_run(folder, folder.relative_to(common_parent).as_posix())
        runs_by_config.setdefault(configuration, []).append(row)
    blocks = [[*rows, *_summarise_seeds(rows)] for rows in runs_by_config.values()]
    rows = [row for block in blocks for row in block]
    print_comparison(blocks)
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    if out:
        with output_errors(out):
            out.mkdir(exist_ok=True)
            write_text(out / FILES[0], csv_text(table))
            write_text(out / FILES[1], as_markdown(rows))
        print(f"written to {out}")
    return table


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders at or below `paths`, in the order of `paths`, without repeats."""
    found: dict[Path, None] = {}
    for path in paths:
        if is_exported(path) or is_on_hub(path):
            raise UserError(
                f"{path} is an exported run: it has no test predictions to compare; name its run folder, or evaluate "
                "it on the images of the others with hemai evaluate"
            )
        config = RunFolder(path).config
        configs = [config] if config.is_file() else sorted(path.rglob(".hydra/config.yaml"))
        configs = [config for config in configs if INNER not in config.relative_to(path).parts]
        if not configs:
            expected = "expected lightning_logs/<data>-<model>/<date_time>, or a folder above such runs"
            raise UserError(f"{path} is not a run folder (no .hydra/config.yaml in it or below); {expected}")
        found |= dict.fromkeys(config.parent.parent.resolve() for config in configs)
    return list(found)


def _read_run(folder: Path, name: str) -> tuple[Row, str]:
    """Row of a run, and its configuration as JSON, without settings that may differ between seeds."""
    try:
        config, overrides = read_settings(folder), read_overrides(folder)
        check_sections(config, folder)
        result = read_result(folder)
        row = {"run": name, **_settings(config, overrides, read_selected_configs(folder)), **_results(result)}
        if result is not None and config["data"].get("permute_labels"):
            row["note"] = "; ".join(filter(None, (PERMUTED, row["note"])))
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{folder} cannot be read as a hemai run ({reason}); leave it out") from error
    # A key that is null or false may be missing in an older run.
    settings = {key: value for key, value in flatten(config).items() if value is not None and value is not False}
    fixed = {key: value for key, value in settings.items() if not MAY_DIFFER.match(key)}
    return row, json.dumps(fixed, sort_keys=True, default=str)


def _settings(config: Row, overrides: Sequence[str], selected: Mapping[str, str]) -> Row:
    data, model = config["data"], config["model"]
    folds = {"fold": f"fold {data['fold']}", "kfold": f"fold {data['fold']} of {data['folds']}"}
    published = config.get("published") or {}
    return {
        "data": data.get("name") or selected.get("data"),
        "split": folds.get(data["split"], Path(data["split"]).name),
        "model": model["backbone"],
        "transform": selected.get("transform"),
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
        return {**dict.fromkeys(("epochs", "parameters", *SUMMARISED, *LIMITS, SCORE)), "note": UNFINISHED}
    groups, shared = result.get("test/groups"), result["groups_shared"]
    caveats = [UNTESTED] if groups is None else [LEAKAGE] * (shared > 0) + [FEW] * (groups < FEW_GROUPS)
    return {
        **{name: result[name] for name in ("epochs", "parameters", "groups_shared")},
        **{name: result.get(f"test/{name}") for name in MAIN},
        **{name: result.get(f"test/{name.replace('_', '/')}") for name in LIMITS},
        SCORE: result.get("score") if groups is None else None,
        "test_images": result.get("test/images"),
        "test_groups": groups,
        "note": "; ".join(caveats),
    }


def _summarise_seeds(rows: Sequence[Row]) -> list[Row]:
    """Mean, lowest and highest of finished runs that differ only in the seed; empty for a single seed."""
    runs = list({row["seed"]: row for row in rows if row["note"] != UNFINISHED}.values())
    if len(runs) < 2:
        return []
    common = {name: runs[0][name] if len({row[name] for row in runs}) == 1 else None for name in COLUMNS}
    common["note"] = "; ".join(caveat for caveat in FOOTNOTES if any(caveat in row["note"] for row in runs))
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
