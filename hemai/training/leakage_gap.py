"""The leakage gap: how optimistic an image-level split is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hemai.evaluation.intervals import LEVEL
from hemai.evaluation.metrics import MAIN
from hemai.reporting.text import format_interval
from hemai.runs.build import build_data
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder
from hemai.training.launch import launch_runs, reject_reserved_overrides
from hemai.utils.errors import UserError
from hemai.utils.files import write_text
from hemai.utils.terminal import say, show_table

SPLITS = ("image", "group")


def measure_leakage(overrides: Sequence[str], out: Path, seeds: int = 3, trust: bool = False) -> pd.DataFrame:
    """Train the same model with a split by image and with one by group, with several seeds.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        out: Folder of the runs, `leakage.csv` and `result.json`; runs that are finished there are not repeated.
        seeds: 0, 1, ...: each with other splits, first weights and order of images.
        trust: See `hemai.training.launch.launch_runs`.

    Returns:
        One row a figure: `figure, image, group` (means over seeds), `gap` (image - group), `low, high`.

    Raises:
        UserError: See `hemai.training.launch.launch_runs`.
    """
    reject_reserved_overrides(("seed", "data.seed", "model.seed", "data.split", "data.fold"), overrides, "leakage")
    if build_data(compose(parse_arguments(overrides))).dataset.group_kind == "image":
        raise UserError("every image is its own group here, so both splits are by image; set data.pattern or data.csv")
    settings = [(split, seed) for seed in range(seeds) for split in SPLITS]
    trainings = {f"{split}-{seed}": [*overrides, f"data.split={split}", f"seed={seed}"] for split, seed in settings}
    folders = launch_runs(out, trainings, trust)
    runs = pd.DataFrame([_row(*setting, folder) for setting, folder in zip(settings, folders, strict=True)])
    table = _gaps(runs)
    values: dict[str, float] = {}
    for row in table.to_dict("records"):
        values |= {f"{name}/{row['figure']}": row[name] for name in (*SPLITS, "gap")}
        values |= {f"gap/{row['figure']}/{limit}": row[limit] for limit in ("low", "high")}
    rounded = {name: None if math.isnan(value) else round(value, 7) for name, value in values.items()}
    write_text(out / "leakage.csv", runs.to_csv(index=False))
    write_text(out / "result.json", json.dumps(rounded | {"seeds": seeds}, indent=2) + "\n")
    _print(table, runs)
    print(f"written to {out}")
    return table


def _row(split: str, seed: int, folder: Path) -> dict[str, Any]:
    result = json.loads(RunFolder(folder).result.read_text())
    if "test/accuracy" not in result:
        raise UserError(f"{folder}: nothing was tested; leave data.test_share above 0")
    values = {name: result[name] for name in ("groups_shared", "test/images", "test/groups")}
    return {"split": split, "seed": seed, **values, **{figure: result[f"test/{figure}"] for figure in MAIN}}


def _gaps(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for figure in MAIN:
        image, group = (runs.loc[runs["split"] == split, figure].to_numpy(float) for split in SPLITS)
        if not np.isnan(image - group).any():  # else it is not defined in one of the runs
            low, high = _limits(image, group)
            row = {"figure": figure, "image": image.mean(), "group": group.mean()}
            rows.append({**row, "gap": (image - group).mean(), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["figure", *SPLITS, "gap", "low", "high"])


def _limits(image: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Interval of Student's t; not defined for a single seed, or where all seeds differ by the same."""
    if np.ptp(image - group) == 0:
        return math.nan, math.nan
    found = stats.ttest_rel(image, group).confidence_interval(LEVEL)
    return float(found.low), float(found.high)


def _print(table: pd.DataFrame, runs: pd.DataFrame) -> None:
    rows = [
        (
            row["figure"],
            f"{row['image']:.3f}",
            f"{row['group']:.3f}",
            f"{row['gap']:+.3f}",
            format_interval(row["low"], row["high"], "+"),
        )
        for row in table.to_dict("records")
    ]
    columns = ["metric", "by image", "by group", "gap", "95 % over seeds"]
    show_table(pd.DataFrame(rows, columns=columns), f"leakage gap: means of {len(runs) // 2} seeds")
    shared = {split: ", ".join(f"{n:,}" for n in runs.loc[runs["split"] == split, "groups_shared"]) for split in SPLITS}
    say(
        f"groups on both sides of the splits by image: {shared['image']}; by group: {shared['group']}. "
        "Each seed has other test images, so the interval holds the luck of the split as well"
    )
