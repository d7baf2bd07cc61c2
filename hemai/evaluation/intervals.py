"""Intervals of metrics: over groups, which are what new data consist of, and over images, for comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit, log_softmax, logit

from hemai.evaluation.metrics import AT_THRESHOLD, Metric, Sums, metrics_of
from hemai.evaluation.predictions import Predictions

LEVEL = 0.95
FEW_GROUPS = 5  # with fewer an interval means little
MAX_BLOCKS = 500  # more groups than this are left out in blocks: the error of the interval is no larger, its cost is
ROWS = 256  # weightings at a time: the memory of 256 x 10,000 weights is 20 MB


@dataclass(frozen=True)
class Interval:
    """A metric and where the truth may lie.

    Attributes:
        value: The metric on all images.
        low, high: Of the interval; NaN where it is not defined.
        groups: Number of groups that the metric rests on.
    """

    value: float
    low: float
    high: float
    groups: int


def group_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of all metrics for new groups, such as patients: a jackknife with Student's t.

    Each group is left out in turn. The spread of the metrics gives a standard error, which is carried over to
    their logits (of the loss: its logarithm), and Student's t with one degree of freedom less than groups the
    width. More than 500 groups are left out in 500 blocks. Cells of one patient resemble each other, so the
    number of groups counts, not that of images. A recall rests only on the groups that have images of its class.
    Where all groups are right, or all wrong, the spread is 0 and says nothing: the limits are then those of Clopper
    and Pearson for as many trials as groups.

    Args:
        predictions: Of a set of images.
        level: Fraction of such intervals that should hold the truth.

    Returns:
        Metric -> interval. NaN with fewer than two groups, or where leaving one out undefines the figure.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11. Percentile and BCa bootstraps
    over 30 groups cover less than their level.
    """
    codes, names = predictions.group_codes()
    blocks = codes
    if len(names) > MAX_BLOCKS:
        blocks = np.random.default_rng(0).permutation(len(names))[codes] % MAX_BLOCKS
    values = weighted_metrics(np.ones((1, len(codes))), predictions)
    left_out = weighted_metrics(blocks != np.unique(blocks)[:, None], predictions)
    of_class = [np.unique(codes[predictions.targets == target]) for target in range(len(predictions.classes))]
    metrics, intervals = {metric.name: metric for metric in metrics_of(predictions.classes)}, {}
    for name, value in values.items():
        metric, without, groups = metrics[name.removeprefix(AT_THRESHOLD)], left_out[name], len(names)
        if metric.rests_on is not None:
            rests_on = metric.rests_on(predictions)
            without, groups = without[np.unique(blocks[rests_on])], len(np.unique(codes[rests_on]))
        if metric.skips_classes and any(len(of) == 1 for of in of_class):
            without = np.full_like(without, np.nan)  # without its only group a class would drop out of the mean
        low, high = _jackknife(metric, float(value[0]), without, groups, level)
        intervals[name] = Interval(float(value[0]), low, high, groups)
    return intervals


def image_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals as if images were independent, which cells of one patient are not: each image a group of its own.

    They stand beside `group_intervals` to show how much too narrow they are.
    """
    table = predictions.table.assign(group=np.arange(len(predictions.table)))
    return group_intervals(replace(predictions, table=table), level)


def _jackknife(metric: Metric, value: float, left_out: np.ndarray, groups: int, level: float) -> tuple[float, float]:
    if len(left_out) < 2 or np.isnan([value, *left_out]).any():
        return np.nan, np.nan
    if metric.is_fraction and value in (0, 1):
        return clopper_pearson(round(value * groups), groups, level)
    if np.ptp(left_out) < 1e-12:  # all predictions alike: the spread says nothing
        return np.nan, np.nan
    blocks = len(left_out)
    error = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum())
    # On a scale without ends; the slope of that scale at the value carries the error over.
    if metric.is_fraction:
        to, back, slope = logit, expit, 1 / (value * (1 - value))
    else:
        to, back, slope = np.log, np.exp, 1 / value
    width = stats.t.ppf((1 + level) / 2, blocks - 1) * error * slope
    return float(back(to(value) - width)), float(back(to(value) + width))


def clopper_pearson(right: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of a fraction."""
    found = stats.binomtest(right, trials).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def weighted_metrics(weights: np.ndarray, predictions: Predictions) -> dict[str, np.ndarray]:
    """Metrics as of `hemai.evaluation.metrics.compute_metrics`, where image i counts `weights[r, i]` times.

    A weight of 0 leaves an image out, so leaving out groups and drawing them again and again are both
    weightings, computed together.

    Args:
        weights: 0 or more, shape (R, N).
        predictions: Of N images. Without positive classes their metrics are left out; with a threshold, recall and
            the like at it are added as `at_threshold/<metric>`.

    Returns:
        Name -> float64, shape (R,); NaN where a metric is not defined.
    """
    targets = predictions.targets
    loss = -log_softmax(predictions.logits, axis=1)[np.arange(len(targets)), targets]
    parts = [
        _metrics(rows.astype(np.float64), predictions, loss)
        for rows in np.array_split(weights, -(-len(weights) // ROWS))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _metrics(weights: np.ndarray, predictions: Predictions, loss: np.ndarray) -> dict[str, np.ndarray]:
    count = len(predictions.classes)
    cells = np.eye(count * count)[predictions.targets * count + predictions.logits.argmax(axis=1)]
    score, malignant = predictions.malignant_probability, predictions.malignant
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # of each run of equal scores
    sums = Sums(
        confusion=(weights @ cells).reshape(-1, count, count),
        loss=weights @ loss,
        outcomes=_outcomes(weights, score >= 0.5, malignant),
        malignant=np.add.reduceat(weights[:, order] * malignant[order], starts, axis=1),
        benign=np.add.reduceat(weights[:, order] * ~malignant[order], starts, axis=1),
    )
    metrics = metrics_of(predictions.classes)
    if not predictions.positive:
        return _values(sums, [metric for metric in metrics if metric.kind == "classes"])
    values = _values(sums, metrics)
    if predictions.threshold is not None:
        sums = replace(sums, outcomes=_outcomes(weights, score >= predictions.threshold, malignant))
        at_threshold = _values(sums, [metric for metric in metrics if metric.kind == "threshold"])
        values |= {f"{AT_THRESHOLD}{name}": value for name, value in at_threshold.items()}
    return values


def _values(sums: Sums, metrics: Iterable[Metric]) -> dict[str, np.ndarray]:
    return {m.name: np.where(m.is_defined(sums.outcomes), m.weighted(sums), np.nan) for m in metrics}


def _outcomes(weights: np.ndarray, called: np.ndarray, malignant: np.ndarray) -> np.ndarray:
    """Sums of weights, shape (4, R)."""
    return (weights @ np.eye(4)[2 * ~malignant + ~called]).T
