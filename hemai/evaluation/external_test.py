"""External test sets: their class names, and the performance drop on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.special import logsumexp

from hemai.data.dataset import CellDataset
from hemai.evaluation.intervals import Interval, group_intervals
from hemai.evaluation.metrics import MAIN
from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError, did_you_mean, shorten

EXPECTED = "expected 'Benign: hem, Early: all', or a YAML file of such lines; several classes: 'all: Early+Pre+Pro'"


def read_class_names(told: str) -> dict[str, tuple[str, ...]]:
    """Read which classes of a network each class of a data set stands for.

    Args:
        told: `Benign: hem, Early: all`, or the name of a YAML file with one pair a line. Classes of the network
            that are one class of the data set are joined by `+`.

    Returns:
        Class of the data set -> classes of the network.

    Raises:
        UserError: Text of another form.
    """
    is_file = told.endswith((".yaml", ".yml"))
    try:
        # As nodes, in which "no" is a name and not false, and a name that stands twice is not lost.
        node = yaml.compose(Path(told).read_text() if is_file else "{" + told.strip("{} ") + "}", yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--classes: cannot read {told} ({' '.join(str(error).split())}); {EXPECTED}") from error
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    if not pairs or not all(isinstance(part, yaml.ScalarNode) and part.value for pair in pairs for part in pair):
        raise UserError(f"--classes={told}: {EXPECTED}")
    names = {name.value: tuple(part.strip() for part in places.value.split("+")) for name, places in pairs}
    twice = {name for name, places in names.items() if len(set(places)) < len(places) or "" in places}
    if len(names) < len(pairs) or twice:
        raise UserError(f"--classes={told}: a name stands twice, or none beside a +; {EXPECTED}")
    return names


def check_class_names(
    names: Mapping[str, tuple[str, ...]], of_data: Sequence[str], classes: Sequence[str], positive: Sequence[str]
) -> None:
    """Stop where the names fit neither the data set nor the network.

    Raises:
        UserError: A class that one of them lacks, a class of the data set without a place, classes of the network in
            two different places, or malignant and benign ones in one.
    """
    if unknown := [name for name in names if name not in of_data]:
        raise UserError(
            f"--classes: the data have no class {unknown[0]}{did_you_mean(unknown[0], of_data)} ({shorten(of_data)})"
        )
    if missing := [name for name in of_data if name not in names]:
        raise UserError(f"--classes: nothing is said of class {shorten(missing)} of the data; {EXPECTED}")
    for name, places in names.items():
        if unknown := [place for place in places if place not in classes]:
            raise UserError(
                f"--classes: the checkpoint has no class {unknown[0]}{did_you_mean(unknown[0], classes)} "
                f"(expected {shorten(classes)})"
            )
        if 0 < len(set(places) & set(positive)) < len(places):
            raise UserError(f"--classes: {name} stands for malignant and benign classes ({'+'.join(places)})")
        for other, others in names.items():
            if set(places) != set(others) and set(places) & set(others):
                raise UserError(
                    f"--classes: {name} and {other} share {shorten(set(places) & set(others))}, but not all"
                )


def merge_classes(predictions: Predictions, places: Iterable[tuple[str, ...]]) -> Predictions:
    """Predictions with classes joined that a data set does not tell apart.

    Args:
        predictions: Of a network.
        places: Classes of the network that become one.

    Returns:
        Joined classes are called `Early+Pre+Pro`; their probabilities are summed.
    """
    joined = {label: place for place in places for label in place}
    merged = list(dict.fromkeys(joined.get(label, (label,)) for label in predictions.classes))
    logits = np.stack(
        [logsumexp(predictions.logits[:, [predictions.classes.index(c) for c in place]], axis=1) for place in merged],
        axis=1,
    )
    called = {label: "+".join(place) for place in merged for label in place}
    return replace(
        predictions,
        table=predictions.table.assign(label=predictions.table["label"].map(called)),
        logits=logits,
        classes=tuple("+".join(place) for place in merged),
        positive=tuple("+".join(place) for place in merged if place[0] in predictions.positive),
        # A temperature was fitted to the classes apart.
        temperature=predictions.temperature if len(merged) == len(predictions.classes) else None,
    )


@dataclass(frozen=True)
class ExternalTest:
    """Images that are not a run's own.

    Attributes:
        dataset: They belong to.
        predictions: Of them, with the classes of the run.
        names: Class of the data set -> classes of the run, if they differ.
        drop: As of `performance_drop`, if the run has test images of its own.
    """

    dataset: CellDataset
    predictions: Predictions
    names: Mapping[str, tuple[str, ...]] | None
    drop: pd.DataFrame | None = None

    def merge(self, predictions: Predictions) -> Predictions:
        """Join the classes of the run that this data set does not tell apart."""
        return predictions if self.names is None else merge_classes(predictions, self.names.values())


def performance_drop(own: Predictions, here: Mapping[str, Interval]) -> pd.DataFrame:
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


def flatten_drop(drop: pd.DataFrame) -> dict[str, float | None]:
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
