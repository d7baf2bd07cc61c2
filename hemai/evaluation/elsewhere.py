"""Images of another source, and what a network loses on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from hemai.data import CellDataset
from hemai.evaluation.class_names import merge_classes
from hemai.evaluation.intervals import Interval, group_intervals
from hemai.evaluation.predictions import Predictions
from hemai.metrics import MAIN


@dataclass(frozen=True)
class Elsewhere:
    """Images that are not a run's own.

    Attributes:
        dataset: They belong to.
        predictions: Of them, with the classes of the run.
        names: Class of the data set -> classes of the run, if they differ.
        drop: As of `measure_drop`, if the run has test images of its own.
    """

    dataset: CellDataset
    predictions: Predictions
    names: Mapping[str, tuple[str, ...]] | None
    drop: pd.DataFrame | None = None

    def merge(self, predictions: Predictions) -> Predictions:
        """Join the classes of the run that this data set does not tell apart."""
        return predictions if self.names is None else merge_classes(predictions, self.names.values())


def measure_drop(own: Predictions, here: Mapping[str, Interval]) -> pd.DataFrame:
    """Figures on the run's own test images, minus those on others.

    Args:
        own: Of the run's own test images.
        here: Intervals of the same figures on the other images.

    Returns:
        One row a figure: `figure, own, here, drop, low, high`; a loss that grows is a negative drop. The limits are
        those of two independent figures: Zou & Donner, Stat. Med. 27 (2008) 1693.
    """
    intervals = group_intervals(own)
    rows = []
    for figure in (*MAIN, "loss"):
        if figure in intervals and figure in here:
            drop = difference(intervals[figure], here[figure])
            values = {"own": intervals[figure].value, "here": here[figure].value}
            rows.append({"figure": figure, **values, "drop": drop.value, "low": drop.low, "high": drop.high})
    return pd.DataFrame(rows, columns=["figure", "own", "here", "drop", "low", "high"])


def drop_facts(drop: pd.DataFrame) -> dict[str, float | None]:
    """Flat, for `result.json`: `drop/<figure>` with its limits."""
    return {
        f"drop/{row['figure']}{suffix}": round(row[column], 7) if row[column] == row[column] else None
        for row in drop.to_dict("records")
        for column, suffix in (("drop", ""), ("low", "/low"), ("high", "/high"))
    }


def difference(one: Interval, other: Interval) -> Interval:
    """One figure minus another of independent images, with limits from those of both."""
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, low, high, min(one.groups, other.groups))
