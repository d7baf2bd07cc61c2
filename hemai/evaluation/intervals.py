"""Intervals of metrics: for new groups, such as patients, and as if images were independent, for comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from hemai.evaluation.metric import Metric, Sums
from hemai.evaluation.metrics import AT_THRESHOLD, metrics_of
from hemai.evaluation.posterior import MIDPOINTS, add_independent, proportion_posterior
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import weighted_metrics

LEVEL = 0.95
FEW_GROUPS = 5  # with fewer in a class, an interval says more of the prior than of the data
MANY_IMAGES = 100
MAX_BLOCKS = 500  # the jackknife leaves out more groups than this in blocks: as precise, and no slower
ROUNDING = 1e-9
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class Interval:
    """Value of a metric with the limits of its interval.

    Attributes:
        value: The metric on all images.
        low, high: Limits of the interval; NaN where it is not defined.
        groups: Number of groups that the metric rests on.
    """

    value: float
    low: float
    high: float
    groups: int


def group_intervals(predictions: Predictions, by_image: bool = True) -> dict[str, Interval]:
    """95 % intervals of all metrics for new groups, such as patients.

    Images of one patient resemble each other, so the number of groups counts, not that of images. Proportions of images
    (accuracy, recalls) have credible limits of `hemai.evaluation.posterior.proportion_posterior`. Metrics that follow
    from several proportions (balanced accuracy from recalls; precision and F1 from recall and specificity, at the
    numbers of malignant and benign images at hand) have those of the independent posteriors of these. The AUROC is the
    mean rank of malignant images among benign ones and the reverse; the spreads of both posteriors are added. Loss,
    weighted F1, AUPRC and macro AUROC have a jackknife over groups (over 500 blocks of more groups), on a logarithmic
    or logit scale, with Student's t and Kish's effective number of groups less one as degrees of freedom; so has the
    AUROC of more than 100 independent images of each class, where ranks taken for 0 or 1 make the posterior too wide.
    Of several networks, tested on images of their own, only images of one network are ranked among each other.

    Args:
        predictions: Predictions of a set of images.
        by_image: Whether each image counts once, or else each group in each of its classes.

    Returns:
        Metric -> interval. Limits are NaN where a class that the metric uses has one group, since nothing is known of
        how its groups vary. Those of a jackknife are NaN where a class has fewer than five groups, or all together an
        effective number below five, and at 0 or 1.

    Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11, for the jackknife; Hanley &
    McNeil, Radiology 148 (1983) 839, and DeLong et al., Biometrics 44 (1988) 837, for the AUROC as a mean of ranks.
    """
    estimates = Estimates(predictions, by_image)
    values = weighted_metrics(estimates.weights[None], predictions)
    metrics = {metric.name: metric for metric in metrics_of(predictions.classes)}
    intervals = {}
    for name, (value,) in values.items():
        metric = metrics[name.removeprefix(AT_THRESHOLD)]
        if metric.is_fraction:  # sums of weights round
            value = np.clip(value, 0, 1)
        groups, fewest = estimates.groups(metric)
        low = high = np.nan
        # With few groups of a class the jackknife is narrow or wide by chance.
        if fewest >= (FEW_GROUPS if metric.interval == "jackknife" else 2) and not np.isnan(value):
            likely = estimates.distribution(metric, name, float(value), fewest)
            low, high = np.interp([(1 - LEVEL) / 2, (1 + LEVEL) / 2], MIDPOINTS, likely)
            if not np.isnan(low):  # a posterior may leave out an extreme value, such as 1
                low, high = min(low, value), max(high, value)
        intervals[name] = Interval(float(value), float(low), float(high), groups)
    return intervals


def image_intervals(predictions: Predictions) -> dict[str, Interval]:
    """Intervals as if images were independent: each image is its own group.

    They stand beside `group_intervals` to show how much too narrow they are, since images of one patient are alike.
    """
    groups = predictions.table["path"] if predictions.repeats > 1 else np.arange(len(predictions.table))
    return group_intervals(replace(predictions, table=predictions.table.assign(group=groups)))


class Estimates:
    """Where the metrics of new groups may lie: equally probable values, at the quantiles `MIDPOINTS`.

    Args:
        predictions, by_image: As of `group_intervals`.
    """

    def __init__(self, predictions: Predictions, by_image: bool = True) -> None:
        self.predictions, self.by_image = predictions, by_image
        self.codes, names = predictions.group_codes()
        self.are_images = len(names) == predictions.images
        # Images of one class of a group share its weight, and so do repeated predictions of an image.
        classes = predictions.malignant if predictions.positive else predictions.targets
        of_group = 1 / pd.Series(1, range(len(self.codes))).groupby([self.codes, classes]).transform("size").to_numpy()
        self.weights = np.full(len(self.codes), 1 / predictions.repeats) if by_image else of_group

    def groups(self, metric: Metric) -> tuple[int, int]:
        """Number of groups that a metric uses, and the smallest number among the classes that it uses."""
        predictions = self.predictions
        used = np.ones(len(self.codes), bool) if metric.rests_on is None else metric.rests_on(predictions)
        kinds = predictions.targets if metric.kind == "classes" else predictions.malignant
        counts = [len(np.unique(self.codes[used & (kinds == kind)])) for kind in np.unique(kinds[used])]
        return len(np.unique(self.codes[used])), min(counts, default=0)

    def distribution(self, metric: Metric, name: str, value: float, fewest: int) -> np.ndarray:
        """Distribution of a metric of a value; `name` tells of the threshold, `fewest` is as of `groups`."""
        predictions, ends = self.predictions, (0, 1) if metric.is_fraction else (0,)
        is_extreme = any(abs(value - end) < ROUNDING for end in ends)
        if metric.interval == "jackknife":
            return np.full_like(MIDPOINTS, np.nan) if is_extreme else self._jackknife(metric, name, value)
        if metric.interval == "ranks" and self.are_images and fewest > MANY_IMAGES and not is_extreme:
            return self._jackknife(metric, name, value)
        if metric.interval == "recalls":
            return self._mean_recall
        if metric.interval == "outcomes":
            outcomes = self._outcomes_at_threshold if name.startswith(AT_THRESHOLD) else self._outcomes
            none = np.empty(0)
            return np.quantile(metric.weighted(Sums(none, none, outcomes, none, none, none, none)), MIDPOINTS)
        if metric.interval == "ranks":
            return np.clip(value + self._rank_deviations, 0, 1)
        used = None if metric.rests_on is None else metric.rests_on(predictions)
        return self._proportion(predictions.correct, used)

    def _proportion(self, correct: np.ndarray, used: np.ndarray | None = None) -> np.ndarray:
        codes, correct = (self.codes, correct) if used is None else (self.codes[used], correct[used])
        totals, repeats = np.bincount(codes), self.predictions.repeats
        counts = np.bincount(codes, correct)[totals > 0], totals[totals > 0]
        return proportion_posterior(counts[0] / repeats, counts[1] / repeats, self.by_image)

    @cached_property
    def _mean_recall(self) -> np.ndarray:
        targets = self.predictions.targets
        recalls = [self._proportion(self.predictions.correct, targets == target) for target in np.unique(targets)]
        return add_independent(*recalls) / len(recalls)

    @cached_property
    def _outcomes(self) -> np.ndarray:
        return self._outcomes_from(0.5)

    @cached_property
    def _outcomes_at_threshold(self) -> np.ndarray:
        return self._outcomes_from(self.predictions.threshold)

    def _outcomes_from(self, threshold: float | np.ndarray | None) -> np.ndarray:
        """Numbers of the four outcomes, shape (4, ...), for all pairs of likely recall and specificity."""
        malignant, weights = self.predictions.malignant, self.weights
        pairs = self.recall_and_specificity(threshold)
        return np.stack([pairs[0], 1 - pairs[0], 1 - pairs[1], pairs[1]]) * np.repeat(
            [weights[malignant].sum(), weights[~malignant].sum()], 2
        ).reshape(4, 1)

    def recall_and_specificity(self, threshold: float | np.ndarray | None) -> np.ndarray:
        """All pairs of likely recall and specificity at a threshold, equally probable, shape (2, pairs)."""
        malignant, found = self.predictions.malignant, self.predictions.malignant_probability >= threshold
        recall, specificity = self._proportion(found, malignant), self._proportion(~found, ~malignant)
        return np.stack(np.meshgrid(recall, specificity)).reshape(2, -1)

    @cached_property
    def _rank_deviations(self) -> np.ndarray:
        """Deviations of the AUROC due to the malignant and to the benign groups, added."""
        malignant, score = self.predictions.malignant, self.predictions.malignant_probability
        networks = np.zeros(len(score), int) if self.predictions.network is None else self.predictions.network
        if all(np.ptp(score[networks == network]) == 0 for network in np.unique(networks)):
            return np.zeros_like(MIDPOINTS)  # a constant ranks new images no better
        deviations = []
        for of, sign in ((malignant, 1), (~malignant, -1)):
            # Fraction of the images of the other kind that an image is ranked above, or below; ties count half.
            fractions = np.full(len(score), np.nan)
            for network in np.unique(networks):
                part, rest = networks == network, (networks == network) & ~of
                order = np.argsort(sign * score[rest])
                others, weights = sign * score[rest][order], np.append(0, self.weights[rest][order].cumsum())
                below, not_above = (weights[np.searchsorted(others, sign * score[part], side)] for side in SIDES)
                fractions[part] = (below + not_above) / (2 * weights[-1]) if weights[-1] else np.nan
            likely = self._proportion(fractions, of & ~np.isnan(fractions))
            deviations.append(likely - np.median(likely))
        return add_independent(*deviations)

    @cached_property
    def _left_out(self) -> tuple[dict[str, np.ndarray], float]:
        """All metrics without each block of groups, and the effective number of blocks."""
        blocks = self.codes
        if (groups := self.codes.max() + 1) > MAX_BLOCKS:
            blocks = np.random.default_rng(0).permutation(groups)[self.codes] % MAX_BLOCKS
        sizes = np.bincount(blocks, self.weights)
        kept = blocks != np.arange(len(sizes))[:, None]
        return weighted_metrics(kept * self.weights, self.predictions), sizes.sum() ** 2 / (sizes**2).sum()

    def _jackknife(self, metric: Metric, name: str, value: float) -> np.ndarray:
        metrics, effective = self._left_out
        left_out = metrics[name]
        if effective < FEW_GROUPS:
            return np.full_like(MIDPOINTS, np.nan)
        error = np.sqrt((len(left_out) - 1) * np.var(left_out))
        steps = stats.t.ppf(MIDPOINTS, effective - 1) * error
        if not metric.is_fraction:  # on a scale without ends, by its slope at the value
            return np.asarray(value * np.exp(steps / value))
        return np.asarray(expit(logit(value) + steps / (value * (1 - value))))
