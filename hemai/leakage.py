"""`hemai leakage`: by how much a split by image flatters a network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from hemai.build import build_data
from hemai.config import checked_arguments, compose
from hemai.errors import UserError
from hemai.evaluation.intervals import LEVEL, Interval
from hemai.files import write_text
from hemai.metrics import MAIN
from hemai.trainings import refuse, train_runs

SPLITS = ("image", "group")


def measure_leakage(overrides: Sequence[str], out: Path, seeds: int = 3, trust: bool = False) -> pd.DataFrame:
    """Train the same model with a split by image and with one by group, with several seeds.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        out: Folder of the runs, `leakage.csv` and `result.json`; runs that are finished there are not repeated.
        seeds: 0, 1, ...: each with other splits, first weights and order of images.
        trust: See `hemai.trainings.train_runs`.

    Returns:
        One row a figure: `figure, image, group` (means over seeds), `gap` (image - group), `low, high`.

    Raises:
        UserError: See `hemai.trainings.train_runs`.
    """
    refuse(("seed", "data.seed", "model.seed", "data.split", "data.fold"), overrides, "leakage")
    if build_data(compose(checked_arguments(overrides))).dataset.group_kind == "image":
        raise UserError("every image is its own group here, so both splits are by image; set data.pattern or data.csv")
    settings = [(split, seed) for seed in range(seeds) for split in SPLITS]
    trainings = {f"{split}-{seed}": [*overrides, f"data.split={split}", f"seed={seed}"] for split, seed in settings}
    folders = train_runs(out, trainings, trust)
    runs = pd.DataFrame([_row(*setting, folder) for setting, folder in zip(settings, folders, strict=True)])
    table = _gaps(runs)
    facts: dict[str, float] = {}
    for row in table.to_dict("records"):
        facts |= {f"{name}/{row['figure']}": row[name] for name in (*SPLITS, "gap")}
        facts |= {f"gap/{row['figure']}/{limit}": row[limit] for limit in ("low", "high")}
    rounded = {name: None if math.isnan(value) else round(value, 7) for name, value in facts.items()}
    write_text(out / "leakage.csv", runs.to_csv(index=False))
    write_text(out / "result.json", json.dumps(rounded | {"seeds": seeds}, indent=2) + "\n")
    _print(table, runs)
    print(f"written to {out}")
    return table


def _row(split: str, seed: int, folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    if "test/accuracy" not in result:
        raise UserError(f"{folder}: nothing was tested; leave data.test_share above 0")
    facts = {name: result[name] for name in ("groups_shared", "test/images", "test/groups")}
    return {"split": split, "seed": seed, **facts, **{figure: result[f"test/{figure}"] for figure in MAIN}}


def _gaps(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for figure in MAIN:
        image, group = (runs.loc[runs["split"] == split, figure].to_numpy(float) for split in SPLITS)
        gap = paired_difference(image, group)
        if not math.isnan(gap.value):  # else it is not defined in one of the runs
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


def _print(table: pd.DataFrame, runs: pd.DataFrame) -> None:
    console = Console()
    shown = Table(title=f"leakage gap: means of {len(runs) // 2} seeds", title_justify="left")
    for heading in ("figure", "by image", "by group", "gap", "95 % over seeds"):
        shown.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    for row in table.to_dict("records"):
        limits = "not defined" if math.isnan(row["low"]) else f"{row['low']:+.3f} to {row['high']:+.3f}"
        shown.add_row(row["figure"], f"{row['image']:.3f}", f"{row['group']:.3f}", f"{row['gap']:+.3f}", limits)
    console.print(shown)
    shared = {split: ", ".join(f"{n:,}" for n in runs.loc[runs["split"] == split, "groups_shared"]) for split in SPLITS}
    console.print(
        f"- groups on both sides of the splits by image: {shared['image']}; by group: {shared['group']}. "
        "Each seed has other test images, so the interval holds the luck of the split as well",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
