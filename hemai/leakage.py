"""`hemai leakage`: by how much a split by image flatters a network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from hemai.errors import UserError
from hemai.evaluation.intervals import LEVEL, Interval
from hemai.files import write_text
from hemai.trainings import refuse, train_runs

SPLITS = ("image", "group")
FIGURES = ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc")


def measure_leakage(overrides: Sequence[str], out: Path, seeds: int = 3) -> pd.DataFrame:
    """Train the same model with a split by image and with one by group, with several seeds.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        out: Folder of the runs, `leakage.csv` and `result.json`; runs that are finished there are not repeated.
        seeds: 0, 1, ...: each with other splits, first weights and order of images.

    Returns:
        One row a figure: `figure, image, group` (means over seeds), `gap` (image - group), `low, high`.

    Raises:
        UserError: See `hemai.trainings.train_runs`.
    """
    refuse(("seed", "data.split", "data.fold"), overrides, "leakage")
    runs = {
        f"{split}-{seed}": [*overrides, f"data.split={split}", f"seed={seed}"]
        for seed in range(seeds)
        for split in SPLITS
    }
    folders = train_runs(out, runs)
    results = dict(zip(runs, (json.loads((folder / "result.json").read_text()) for folder in folders), strict=True))
    if untested := [name for name, result in results.items() if "test/accuracy" not in result]:
        raise UserError(f"{', '.join(untested)}: nothing was tested; leave data.test_share above 0")
    rows = [
        {"split": split, "seed": seed}
        | {
            name: results[f"{split}-{seed}"][name]
            for name in ("groups_shared", "test/groups", *(f"test/{figure}" for figure in FIGURES))
        }
        for seed in range(seeds)
        for split in SPLITS
    ]
    table = _gaps({split: [results[f"{split}-{seed}"] for seed in range(seeds)] for split in SPLITS})
    facts = {
        f"{column}/{row['figure']}": row[column] if row[column] == row[column] else None
        for row in table.to_dict("records")
        for column in (*SPLITS, "gap", "low", "high")
    }
    write_text(out / "leakage.csv", pd.DataFrame(rows).to_csv(index=False))
    write_text(out / "result.json", json.dumps({**facts, "seeds": seeds}, indent=2) + "\n")
    _print(table, results, seeds)
    print(f"written to {out}")
    return table


def _gaps(results: dict[str, list[dict[str, float | None]]]) -> pd.DataFrame:
    rows = []
    for figure in FIGURES:
        values = {split: [result[f"test/{figure}"] for result in results[split]] for split in SPLITS}
        if any(value is None for of_split in values.values() for value in of_split):
            continue  # not defined in one of the runs
        image, group = (np.array(values[split], float) for split in SPLITS)
        gap = paired_difference(image, group)
        row = {"figure": figure, "image": image.mean(), "group": group.mean()}
        rows.append({**row, "gap": gap.value, "low": gap.low, "high": gap.high})
    return pd.DataFrame(rows, columns=["figure", *SPLITS, "gap", "low", "high"])


def paired_difference(one: np.ndarray, other: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of the differences of two figures over the same seeds, with the interval of Student's t.

    Args:
        one: A figure, shape (seeds,).
        other: The same seeds, under the other condition.
        level: Share of such intervals that should hold the truth.

    Returns:
        NaN as limits for a single seed.
    """
    differences = one - other
    count = len(differences)
    mean = float(differences.mean())
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    width = float(stats.t.ppf((1 + level) / 2, count - 1) * differences.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - width, mean + width, count)


def _print(table: pd.DataFrame, results: dict[str, dict[str, float]], seeds: int) -> None:
    console = Console()
    shown = Table(title=f"leakage gap: means of {seeds} seeds", title_justify="left")
    for heading in ("figure", "by image", "by group", "gap", "95 % over seeds"):
        shown.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    for row in table.to_dict("records"):
        limits = f"{row['low']:+.3f} to {row['high']:+.3f}" if row["low"] == row["low"] else "not defined"
        shown.add_row(row["figure"], f"{row['image']:.3f}", f"{row['group']:.3f}", f"{row['gap']:+.3f}", limits)
    console.print(shown)
    shared = ", ".join(f"{results[f'image-{seed}']['groups_shared']:,}" for seed in range(seeds))
    console.print(
        f"- groups on both sides of the splits by image: {shared}; by group: none. "
        "Each seed has other test images, so the interval holds the luck of the split as well",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
