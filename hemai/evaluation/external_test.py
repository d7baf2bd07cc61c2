"""External test sets: the performance drop on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from hemai.data.dataset import CellDataset
from hemai.evaluation.class_mapping import merge_classes
from hemai.evaluation.intervals import Interval, group_intervals
from hemai.evaluation.metrics import MAIN
from hemai.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ExternalTest:
    """Predictions of an external test set, with its class mapping and the performance drop.

    Attributes:
        dataset: Source of the images.
        predictions: Predictions of the images, with the classes of the run.
        names: Class of the data set -> classes of the run, if they differ.
        drop: Table of `performance_drop`, if the run has test images of its own.
    """

    dataset: CellDataset
    predictions: Predictions
    names: Mapping[str, tuple[str, ...]] | None
    drop: pd.DataFrame | None = None

    def merge(self, predictions: Predictions) -> Predictions:
        """Merge the classes of the run that this data set does not distinguish."""
        return predictions if self.names is None else merge_classes(predictions, self.names.values())


def performance_drop(own: Predictions, here: Mapping[str, Interval]) -> pd.DataFrame:
    """Metrics on the run's own test images minus those on an external test set.

    Args:
        own: Predictions of the run's own test images.
        here: Intervals of the same metrics on the external test set.

    Returns:
        One row per metric: `metric` (its name), `own, here, drop, low, high`; a rising loss is a negative drop. The
        limits are those of two independent metrics: Zou & Donner, Stat. Med. 27 (2008) 1693.
    """
    intervals = group_intervals(own)
    rows = []
    for metric in (*MAIN, "loss"):
        if metric in intervals and metric in here:
            drop = difference(intervals[metric], here[metric])
            values = {"own": intervals[metric].value, "here": here[metric].value}
            rows.append({"metric": metric, **values, "drop": drop.value, "low": drop.low, "high": drop.high})
    return pd.DataFrame(rows, columns=["metric", "own", "here", "drop", "low", "high"])


def flatten_drop(drop: pd.DataFrame) -> dict[str, float | None]:
    """Performance drop as keys of `result.json`: `drop/<metric>` with its limits."""
    return {
        f"drop/{row['metric']}{suffix}": round(row[column], 7) if row[column] == row[column] else None
        for row in drop.to_dict("records")
        for column, suffix in (("drop", ""), ("low", "/low"), ("high", "/high"))
    }


def difference(one: Interval, other: Interval) -> Interval:
    """Difference of two metrics of independent images, with limits from those of both."""
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, low, high, min(one.groups, other.groups))
