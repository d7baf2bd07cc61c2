"""Intervals of figures: over groups, which are what new data consist of, and over images, for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import ROWS, weighted_figures

LEVEL = 0.95
FEW_GROUPS = 5  # with fewer an interval means little
BUNCHES = 500  # more groups than this are left out by the bunch: the error of the interval is no larger, its cost is


@dataclass(frozen=True)
class Interval:
    """A figure and where the truth may lie.

    Attributes:
        value: The figure on all images.
        low, high: Of the interval; NaN where it is not defined.
        groups: That the figure rests on (bunches of groups, where there are more than 500).
    """

    value: float
    low: float
    high: float
    groups: int


def group_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of all figures for new groups, such as patients: a jackknife with Student's t.

    Each group is left out in turn. The spread of the figures gives a standard error, which is carried over to
    their logits (of the loss: its logarithm), and Student's t with one degree of freedom less than groups the
    width. More than 500 groups are left out in 500 bunches. Cells of one patient resemble each other, so the
    number of groups counts, not that of images. A recall rests only on the groups that have images of its class.
    Where all groups are right, or all wrong, the spread is 0 and says nothing: the limits are then those of Clopper
    and Pearson for as many trials as groups.

    Args:
        predictions: Of a set of images.
        level: Share of such intervals that should hold the truth.

    Returns:
        Figure -> interval. NaN with fewer than two groups, or where leaving one out undefines the figure.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11. Percentile and BCa bootstraps
    over 30 groups cover less than their level.
    """
    codes, names = predictions.group_codes()
    bunches = min(len(names), BUNCHES)
    if bunches < len(names):
        codes = np.random.default_rng(0).permutation(len(names))[codes] % bunches
    values = weighted_figures(np.ones((1, len(codes))), predictions)
    left_out = weighted_figures(codes != np.arange(bunches)[:, None], predictions)
    relevant = _relevant_groups(predictions, codes, bunches)
    if any(relevant[f"recall/{label}"].sum() == 1 for label in predictions.classes):
        left_out["balanced_accuracy"][:] = np.nan  # without its only group a class would drop out of the mean
    return {
        name: _jackknife(name, float(value[0]), left_out[name][relevant.get(name, slice(None))], level)
        for name, value in values.items()
    }


def _relevant_groups(predictions: Predictions, codes: np.ndarray, groups: int) -> dict[str, np.ndarray]:
    """The groups on which a figure of a part of the images rests."""
    parts = {"recall": predictions.malignant, "specificity": ~predictions.malignant}
    parts |= {f"at_threshold/{name}": part for name, part in parts.items()}
    parts |= {f"recall/{label}": predictions.targets == target for target, label in enumerate(predictions.classes)}
    return {name: np.bincount(codes[part], minlength=groups) > 0 for name, part in parts.items()}


def _jackknife(name: str, value: float, left_out: np.ndarray, level: float) -> Interval:
    groups = len(left_out)
    if groups < 2 or np.isnan([value, *left_out]).any():
        return Interval(value, np.nan, np.nan, groups)
    if name != "loss" and value in (0, 1):
        low, high = clopper_pearson(round(value * groups), groups, level)
        return Interval(value, low, high, groups)
    if np.ptp(left_out) < 1e-12:  # all predictions alike: the spread says nothing
        return Interval(value, np.nan, np.nan, groups)
    error = np.sqrt((groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum())
    # On a scale without ends; the slope of that scale at the value carries the error over.
    to, back, slope = (np.log, np.exp, 1 / value) if name == "loss" else (logit, expit, 1 / (value * (1 - value)))
    width = stats.t.ppf((1 + level) / 2, groups - 1) * error * slope
    low, high = (float(back(to(value) + side * width)) for side in (-1, 1))
    return Interval(value, low, high, groups)


def clopper_pearson(right: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of a share."""
    found = stats.binomtest(right, trials).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def image_intervals(
    predictions: Predictions, level: float = LEVEL, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Intervals as if images were independent, which cells of one patient are not: a percentile bootstrap.

    They stand beside `group_intervals` to show how much too narrow they are.

    Args:
        predictions: Of a set of images.
        level: As for `group_intervals`.
        resamples: Of the images, with replacement.
        seed: Of the resamples.
    """
    rng = np.random.default_rng(seed)
    count = len(predictions.targets)
    values = weighted_figures(np.ones((1, count)), predictions)
    parts = []
    for start in range(0, resamples, ROWS):  # all at once would take gigabytes
        rows = min(ROWS, resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        parts.append(weighted_figures(weights, predictions))
    resampled = {name: np.concatenate([part[name] for part in parts]) for name in values}
    limits = ((1 - level) / 2, (1 + level) / 2)
    intervals = {}
    for name, value in values.items():
        low, high = _quantiles(resampled[name], limits)
        intervals[name] = Interval(float(value[0]), float(low), float(high), count)
    return intervals


def _quantiles(values: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    there = values[~np.isnan(values)]  # a resample without a class has no recall of it
    return np.quantile(there, shares) if len(there) else np.full(2, np.nan)
