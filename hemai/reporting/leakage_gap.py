"""Leakage gap: the optimism of an image-level split."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hemai.evaluation.intervals import LEVEL
from hemai.evaluation.metrics import MAIN
from hemai.reporting.text import format_interval
from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError
from hemai.utils.files import write_text
from hemai.utils.terminal import say, show_table

SPLITS = ("image", "group")


def report_leakage(folders: Mapping[tuple[str, int], Path], out: Path) -> pd.DataFrame:
    """Report the leakage gap: runs with an image-level split minus runs with a patient-level split.

    Args:
        folders: (split, seed) -> run folder, for the splits "image" and "group", the same seeds and settings.
        out: Folder for `leakage.csv` and `result.json`.

    Returns:
        One row per metric: `metric` (its name), `image, group` (means over seeds), `gap` (image - group), `low, high`.

    Raises:
        UserError: A run without test images.
    """
    runs = pd.DataFrame([_row(split, seed, folder) for (split, seed), folder in folders.items()])
    table = _gaps(runs)
    values: dict[str, float] = {}
    for row in table.to_dict("records"):
        values |= {f"{name}/{row['metric']}": row[name] for name in (*SPLITS, "gap")}
        values |= {f"gap/{row['metric']}/{limit}": row[limit] for limit in ("low", "high")}
    rounded = {name: None if math.isnan(value) else round(value, 7) for name, value in values.items()}
    write_text(out / "leakage.csv", runs.to_csv(index=False))
    write_text(out / "result.json", json.dumps(rounded | {"seeds": len(runs) // 2}, indent=2) + "\n")
    _print(table, runs)
    print(f"written to {out}")
    return table


def _row(split: str, seed: int, folder: Path) -> dict[str, Any]:
    result = json.loads(RunFolder(folder).result.read_text())
    if "test/accuracy" not in result:
        raise UserError(f"{folder}: the test set is empty; set data.test_share above 0")
    values = {name: result[name] for name in ("groups_shared", "test/images", "test/groups")}
    return {"split": split, "seed": seed, **values, **{metric: result[f"test/{metric}"] for metric in MAIN}}


def _gaps(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for metric in MAIN:
        image, group = (runs.loc[runs["split"] == split, metric].to_numpy(float) for split in SPLITS)
        if not np.isnan(image - group).any():  # NaN: not defined in one of the runs
            low, high = _limits(image, group)
            row = {"metric": metric, "image": image.mean(), "group": group.mean()}
            rows.append({**row, "gap": (image - group).mean(), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["metric", *SPLITS, "gap", "low", "high"])


def _limits(image: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Interval by Student's t over seeds; NaN for a single seed, or if all seeds have the same gap."""
    if np.ptp(image - group) == 0:
        return math.nan, math.nan
    interval = stats.ttest_rel(image, group).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)


def _print(table: pd.DataFrame, runs: pd.DataFrame) -> None:
    rows = [
        (
            row["metric"],
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
        f"groups in more than one split, by image: {shared['image']}; by group: {shared['group']}. "
        "Each seed has different test images, so the interval also covers the chance of the split"
    )
