"""Intervals of metrics: for new groups, such as patients, and as if images were independent, for comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
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


def group_intervals(predictions: Predictions, level: float = LEVEL, by_image: bool = True) -> dict[str, Interval]:
    """Intervals of all metrics for new groups, such as patients.

    Images of one patient resemble each other, so the number of groups counts, not that of images. Proportions of images
    (accuracy, recalls) have credible limits of `hemai.evaluation.posterior.proportion_posterior`. Metrics that follow
    from several proportions (balanced accuracy from recalls; precision and F1 from recall and specificity, at the
    numbers of malignant and benign images at hand) have those of the independent posteriors of these. The AUROC is the
    mean rank of malignant images among benign ones and the reverse; the spreads of both posteriors are added. The loss
    and the weighted F1 have a jackknife over groups, on a logarithmic or logit scale, with Student's t and Kish's
    effective number of groups less one as degrees of freedom.

    Args:
        predictions: Predictions of a set of images.
        level: Nominal coverage of the intervals.
        by_image: Whether each image counts once, or else each group, with its images sharing its weight.

    Returns:
        Metric -> interval. Limits are NaN where a class that the metric uses has one group, since nothing is known of
        how its groups vary, and of the loss and the weighted F1 where a class has fewer than five.

    Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11, for the jackknife; Hanley &
    McNeil, Radiology 148 (1983) 839, and DeLong et al., Biometrics 44 (1988) 837, for the AUROC as a mean of ranks.
    """
    estimates = Estimates(predictions, by_image)
    values = weighted_metrics(estimates.weights[None], predictions)
    metrics = {metric.name: metric for metric in metrics_of(predictions.classes)}
    intervals = {}
    for name, (value,) in values.items():
        metric = metrics[name.removeprefix(AT_THRESHOLD)]
        groups, fewest = estimates.groups(metric)
        low = high = np.nan
        # With few groups of a class the jackknife is narrow or wide by chance.
        if fewest >= (FEW_GROUPS if metric.interval == "jackknife" else 2) and not np.isnan(value):
            likely = estimates.distribution(metric, name, float(value))
            low, high = np.interp([(1 - level) / 2, (1 + level) / 2], MIDPOINTS, likely)
            low, high = min(low, value), max(high, value)  # a posterior may leave out an extreme value, such as 1
        intervals[name] = Interval(float(value), float(low), float(high), groups)
    return intervals


def image_intervals(predictions: Predictions, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals as if images were independent: each image is its own group.

    They stand beside `group_intervals` to show how much too narrow they are, since images of one patient are alike.
    """
    table = predictions.table.assign(group=np.arange(len(predictions.table)))
    return group_intervals(replace(predictions, table=table), level)


class Estimates:
    """Where the metrics of new groups may lie: equally probable values, at the quantiles `MIDPOINTS`.

    Args:
        predictions, by_image: As of `group_intervals`.
    """

    def __init__(self, predictions: Predictions, by_image: bool = True) -> None:
        self.predictions, self.by_image = predictions, by_image
        self.codes, names = predictions.group_codes()
        self.weights = np.ones(len(self.codes)) if by_image else 1 / np.bincount(self.codes)[self.codes]
        self.is_large, self.are_images = len(names) > MAX_BLOCKS, len(names) == len(self.codes)
        self.blocks = self.codes
        if self.is_large:
            self.blocks = np.random.default_rng(0).permutation(len(names))[self.codes] % MAX_BLOCKS

    def groups(self, metric: Metric) -> tuple[int, int]:
        """Number of groups that a metric uses, and the smallest number among the classes that it uses."""
        predictions = self.predictions
        used = np.ones(len(self.codes), bool) if metric.rests_on is None else metric.rests_on(predictions)
        kinds = predictions.targets if metric.kind == "classes" else predictions.malignant
        counts = [len(np.unique(self.codes[used & (kinds == kind)])) for kind in np.unique(kinds[used])]
        return len(np.unique(self.codes[used])), min(counts, default=0)

    def distribution(self, metric: Metric, name: str, value: float) -> np.ndarray:
        """Distribution of a metric; `name` says whether it is the one at the threshold."""
        predictions = self.predictions
        # Of many groups the jackknife is as good and faster, and of many images alone narrower than the posterior of
        # ranks, which takes them for 0 or 1. Of a metric of 0 or 1 it says nothing.
        is_better = self.is_large and not self.are_images
        if metric.interval == "ranks" and self.are_images:
            is_better = len(self.codes) > MANY_IMAGES
        if (metric.interval == "jackknife" or is_better) and value not in (0, 1):
            return self._jackknife(metric, name, value)
        if metric.interval == "recalls":
            return self._mean_recall
        if metric.interval == "outcomes":
            outcomes = self._outcomes_at_threshold if name.startswith(AT_THRESHOLD) else self._outcomes
            none = np.empty(0)
            return np.quantile(metric.weighted(Sums(none, none, outcomes, none, none)), MIDPOINTS)
        if metric.interval == "ranks":
            return np.clip(value + self._rank_deviations, 0, 1)
        used = None if metric.rests_on is None else metric.rests_on(predictions)
        return self._proportion(predictions.correct, used)

    def _proportion(self, correct: np.ndarray, used: np.ndarray | None = None) -> np.ndarray:
        codes, correct = (self.codes, correct) if used is None else (self.codes[used], correct[used])
        totals = np.bincount(codes)
        return proportion_posterior(np.bincount(codes, correct)[totals > 0], totals[totals > 0], self.by_image)

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
        if np.ptp(score) == 0:  # a constant ranks new images no better
            return np.zeros_like(MIDPOINTS)
        deviations = []
        for of, sign in ((malignant, 1), (~malignant, -1)):
            # Fraction of the images of the other kind that an image is ranked above, or below; ties count half.
            order = np.argsort(sign * score[~of])
            others, weights = sign * score[~of][order], np.append(0, self.weights[~of][order].cumsum())
            below, not_above = (weights[np.searchsorted(others, sign * score, side)] for side in ("left", "right"))
            likely = self._proportion((below + not_above) / (2 * weights[-1]), of)
            deviations.append(likely - np.median(likely))
        return add_independent(*deviations)

    def _jackknife(self, metric: Metric, name: str, value: float) -> np.ndarray:
        sizes = np.bincount(self.blocks, self.weights)
        kept = self.blocks != np.arange(len(sizes))[:, None]
        left_out = weighted_metrics(kept * self.weights, self.predictions)[name]
        error = np.sqrt((len(sizes) - 1) * np.var(left_out))
        freedom = max(sizes.sum() ** 2 / (sizes**2).sum() - 1, 1)
        steps = stats.t.ppf(MIDPOINTS, freedom) * error
        if not metric.is_fraction:  # on a scale without ends, by its slope at the value
            return np.asarray(value * np.exp(steps / value))
        return np.asarray(expit(logit(value) + steps / (value * (1 - value))))
