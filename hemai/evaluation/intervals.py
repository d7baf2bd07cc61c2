"""Confidence intervals of metrics: over groups, such as patients, and over images for comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit, log_softmax, logit

from hemai.evaluation.metrics import AT_THRESHOLD, Metric, Sums, metrics_of
from hemai.evaluation.predictions import Predictions

LEVEL = 0.95
FEW_GROUPS = 5  # with fewer an interval is unreliable
MAX_BLOCKS = 500  # more groups are left out in so many blocks: the error of the interval is no larger, its cost smaller
ROWS = 256  # weightings at a time: 256 x 10,000 weights take 20 MB


@dataclass(frozen=True)
class Interval:
    """A metric with its confidence interval.

    Attributes:
        value: The metric on all images.
        low, high: Limits of the interval; NaN where it is not defined.
        groups: Number of groups that the metric is computed from.
    """

    value: float
    low: float
    high: float
    groups: int


def group_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of all metrics for new groups, such as patients, by a jackknife with Student's t.

    Each group is left out in turn. The spread of the metrics gives a standard error, which is transformed to the
    logit scale (for the loss: the log scale); Student's t with one degree of freedom less than groups gives the
    width. More than 500 groups are left out in 500 blocks (delete-a-group jackknife). Cells of one patient resemble
    each other, so the number of groups counts, not that of images. A recall uses only the groups with images of its
    class. Where all groups are correct, or all wrong, the spread is 0 and uninformative: the limits are then those
    of Clopper and Pearson for as many trials as groups.

    Args:
        predictions: Predictions of a set of labelled images.
        level: Nominal coverage of the interval, 0..1.

    Returns:
        Metric -> interval. NaN with fewer than two groups, or where the metric is not defined without one of them.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11. Percentile and BCa bootstraps
    over 30 groups cover less than their nominal level.
    """
    codes, names = predictions.group_codes()
    blocks = codes
    if len(names) > MAX_BLOCKS:
        blocks = np.random.default_rng(0).permutation(len(names))[codes] % MAX_BLOCKS
    values = weighted_metrics(np.ones((1, len(codes))), predictions)
    left_out = weighted_metrics(blocks != np.unique(blocks)[:, None], predictions)
    groups_of_class = [np.unique(codes[predictions.targets == target]) for target in range(len(predictions.classes))]
    metrics, intervals = {metric.name: metric for metric in metrics_of(predictions.classes)}, {}
    for name, value in values.items():
        metric, without, groups = metrics[name.removeprefix(AT_THRESHOLD)], left_out[name], len(names)
        if metric.rests_on is not None:
            rests_on = metric.rests_on(predictions)
            without, groups = without[np.unique(blocks[rests_on])], len(np.unique(codes[rests_on]))
        if metric.skips_classes and any(len(members) == 1 for members in groups_of_class):
            without = np.full_like(without, np.nan)  # without its only group a class would drop out of the mean
        low, high = _jackknife(metric, float(value[0]), without, groups, level)
        intervals[name] = Interval(float(value[0]), low, high, groups)
    return intervals


def image_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals as if images were independent: each image is a group of its own.

    Cells of one patient are not independent. Beside `group_intervals` they show how much too narrow they are.
    """
    table = predictions.table.assign(group=np.arange(len(predictions.table)))
    return group_intervals(replace(predictions, table=table), level)


def _jackknife(metric: Metric, value: float, left_out: np.ndarray, groups: int, level: float) -> tuple[float, float]:
    if len(left_out) < 2 or np.isnan([value, *left_out]).any():
        return np.nan, np.nan
    if metric.is_fraction and value in (0, 1):
        return clopper_pearson(round(value * groups), groups, level)
    if np.ptp(left_out) < 1e-12:  # the same without any group: the spread is uninformative
        return np.nan, np.nan
    blocks = len(left_out)
    error = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum())
    # On an unbounded scale; its slope at the value converts the standard error (delta method).
    if metric.is_fraction:
        to, back, slope = logit, expit, 1 / (value * (1 - value))
    else:
        to, back, slope = np.log, np.exp, 1 / value
    width = stats.t.ppf((1 + level) / 2, blocks - 1) * error * slope
    return float(back(to(value) - width)), float(back(to(value) + width))


def clopper_pearson(correct: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact binomial interval of a fraction, by Clopper and Pearson."""
    interval = stats.binomtest(correct, trials).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def weighted_metrics(weights: np.ndarray, predictions: Predictions) -> dict[str, np.ndarray]:
    """Metrics of `hemai.evaluation.metrics.compute_metrics` with image i counted `weights[r, i]` times.

    A weight of 0 leaves an image out. Leaving out groups and resampling them are both weightings, computed together.

    Args:
        weights: Non-negative, shape (R, N).
        predictions: Predictions of N images. Without positive classes, metrics of malignant against benign are left
            out; with a threshold, recall and the like at it are added as `at_threshold/<metric>`.

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
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # of each set of tied scores
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


def _outcomes(weights: np.ndarray, predicted: np.ndarray, malignant: np.ndarray) -> np.ndarray:
    """Sums of weights of the four outcomes, shape (4, R), see `hemai.evaluation.metrics.FOUND`."""
    return (weights @ np.eye(4)[2 * ~malignant + ~predicted]).T
