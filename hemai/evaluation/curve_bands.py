"""Bands of the ROC and the precision-recall curve, for new groups such as patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from hemai.evaluation.intervals import FEW_GROUPS, LEVEL
from hemai.evaluation.posterior import proportion_posterior
from hemai.evaluation.predictions import Predictions

# Quantiles of the scores of a class that serve as thresholds, denser towards both ends of a curve.
LEVELS = np.sin(np.linspace(0, np.pi / 2, 17)) ** 2
EVERY = 4  # of the likely shifts of a threshold: enough for limits
LIMITS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


@dataclass(frozen=True)
class Rate:
    """Fraction of the images of one kind that are predicted malignant, as the threshold falls.

    Attributes:
        observed: Of the images at hand, shape (thresholds,).
        likely: Of new groups: equally probable values, as from `proportion_posterior`, shape (thresholds, values).
    """

    observed: np.ndarray
    likely: np.ndarray


def likely_rates(predictions: Predictions) -> tuple[Rate, Rate] | None:
    """Sensitivity and false positive rate; None where a class has fewer than five groups.

    Args:
        predictions: Predictions of malignant and benign images.
    """
    codes, _ = predictions.group_codes()
    malignant, score = predictions.malignant, predictions.malignant_probability
    kinds = (malignant, ~malignant)
    if min(len(np.unique(codes[kind])) for kind in kinds) < FEW_GROUPS:
        return None
    quantiles = [np.quantile(score[kind], LEVELS, method="nearest") for kind in kinds]
    thresholds = np.unique(np.concatenate(quantiles))[::-1]
    weight = 1 / predictions.repeats
    sensitivity, false_positives = (_rate(score[kind], codes[kind], thresholds, weight) for kind in kinds)
    return sensitivity, false_positives


def _rate(score: np.ndarray, codes: np.ndarray, thresholds: np.ndarray, weight: float) -> Rate:
    totals = np.bincount(codes) * weight
    found = np.stack([np.bincount(codes, score >= threshold, len(totals)) for threshold in thresholds]) * weight
    likely = np.stack([proportion_posterior(row[totals > 0], totals[totals > 0]) for row in found])
    return Rate(found.sum(axis=1) / totals.sum(), np.maximum.accumulate(likely))


def roc_band(sensitivity: Rate, false_positives: Rate, at: np.ndarray) -> np.ndarray:
    """95 % limits of the sensitivity at false positive rates, for new groups.

    At the threshold of a false positive rate, the sensitivity of new groups has a posterior. So has their false
    positive rate: where it is higher, a higher threshold is needed to reach the given one. Malignant and benign groups
    are independent, as for the AUROC.

    Args:
        sensitivity: From `likely_rates`.
        false_positives: Likewise.
        at: False positive rates, 0..1, shape (N,).

    Returns:
        Lower and upper limits, shape (2, N). Each holds at its point, not for the whole curve.

    Source: Ours, chosen by the simulation of `benchmarks/roc_band.py`.
    """
    return np.quantile(_along(false_positives, sensitivity, at), LIMITS, axis=1)


def precision_band(sensitivity: Rate, false_positives: Rate, at: np.ndarray, prevalence: float) -> np.ndarray:
    """95 % limits of the precision at sensitivities, for new groups; as `roc_band`, with the classes exchanged.

    Args:
        sensitivity: From `likely_rates`.
        false_positives: Likewise.
        at: Sensitivities, above 0 and up to 1, shape (N,).
        prevalence: Fraction of malignant images, taken as known.
    """
    found, wrong = prevalence * at[:, None], (1 - prevalence) * _along(sensitivity, false_positives, at)
    return np.quantile(found / (found + wrong), LIMITS, axis=1)


def _along(rate: Rate, other: Rate, at: np.ndarray) -> np.ndarray:
    """Likely values of the other rate where the first one has given values, shape (N, values)."""
    rows, at = np.arange(len(rate.observed)), np.clip(at, 1e-4, 1 - 1e-4)
    likely = logit(np.clip(_between(rate.likely[:, ::EVERY], np.interp(at, rate.observed, rows)), 1e-9, 1 - 1e-9))
    shifted = expit(logit(at)[:, None] - (likely - np.median(likely, axis=1, keepdims=True)))
    return _between(other.likely, np.interp(shifted, rate.observed, rows)).reshape(len(at), -1)


def _between(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of an array at fractional positions."""
    below = np.floor(positions).astype(int)
    share = (positions - below)[..., None]
    return (1 - share) * values[below] + share * values[np.minimum(below + 1, len(values) - 1)]
