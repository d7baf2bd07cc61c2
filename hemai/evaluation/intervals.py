"""Intervals of metrics: over groups, which are what new data consist of, and over images, for comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import weighted_figures
from hemai.metrics import AT_THRESHOLD, Metric, metrics_of

LEVEL = 0.95
FEW_GROUPS = 5  # with fewer an interval means little
BLOCKS = 500  # more groups than this are left out in blocks: the error of the interval is no larger, its cost is


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
    if len(names) > BLOCKS:
        blocks = np.random.default_rng(0).permutation(len(names))[codes] % BLOCKS
    values = weighted_figures(np.ones((1, len(codes))), predictions)
    left_out = weighted_figures(blocks != np.unique(blocks)[:, None], predictions)
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
