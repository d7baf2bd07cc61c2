"""What recall and specificity mean for a patient population: predictive values, likelihood ratios, net benefit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hemai.evaluation.intervals import LEVEL, Estimates
from hemai.evaluation.metric import ratio
from hemai.evaluation.predictions import Predictions

PREVALENCES = (0.05, 0.2, 0.5)


def predictive_values(predictions: Predictions) -> pd.DataFrame:
    """Predictive values at other fractions of malignant images, and likelihood ratios, with intervals for new groups.

    All follow from recall and specificity at the threshold of the predictions (0.5 if they have none), and so do the
    intervals, from the posteriors of these.

    Args:
        predictions: Predictions of malignant and benign images.

    Returns:
        One row per quantity: `quantity` (`PPV at 0.05`, ..., `negative likelihood ratio`), `value, low, high`. NaN
        where it is not defined, and limits with one group of a class; the positive likelihood ratio is infinite, with
        a lower limit, where nothing benign is predicted malignant.
    """
    threshold = 0.5 if predictions.threshold is None else predictions.threshold
    found, malignant = predictions.malignant_probability >= threshold, predictions.malignant
    values = _quantities(found[malignant].mean(keepdims=True), (~found)[~malignant].mean(keepdims=True))
    estimates = Estimates(predictions)
    fewest = min(len(np.unique(estimates.codes[part])) for part in (malignant, ~malignant))
    likely = _quantities(*estimates.recall_and_specificity(threshold)) if fewest > 1 else {}
    rows = []
    for name, (value,) in values.items():
        low = high = np.nan
        if likely and not np.isnan(value):
            low, high = np.quantile(likely[name], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        # A posterior may leave out an extreme value, such as 1.
        rows.append((name, value, min(low, value), max(high, value)))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])


def _quantities(recall: np.ndarray, specificity: np.ndarray) -> dict[str, np.ndarray]:
    quantities = {}
    for prevalence in PREVALENCES:
        found, missed = prevalence * recall, prevalence * (1 - recall)
        cleared, wrong = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
        quantities[f"PPV at {prevalence:g}"] = ratio(found, found + wrong)
        quantities[f"NPV at {prevalence:g}"] = ratio(cleared, cleared + missed)
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite without a false alarm
        quantities["positive likelihood ratio"] = recall / (1 - specificity)
    quantities["negative likelihood ratio"] = ratio(1 - recall, specificity)
    return quantities


def net_benefit(predictions: Predictions, thresholds: np.ndarray) -> pd.DataFrame:
    """Net benefit of acting on the predictions at each threshold, and of acting on all images.

    Args:
        predictions: Predictions of malignant and benign images.
        thresholds: Probabilities from which one would act, above 0 and below 1: 0.1 means that missing a malignant
            image is nine times as bad as a false alarm.

    Returns:
        One row per threshold: `threshold, model, all`, in malignant images found per image, less weighted false alarms;
        acting on none is 0.

    Source: Vickers & Elkin, Med. Decis. Making 26 (2006) 565.
    """
    score, malignant = predictions.malignant_probability, predictions.malignant
    acted = score >= thresholds[:, None]
    odds = thresholds / (1 - thresholds)
    model = (acted & malignant).mean(axis=1) - odds * (acted & ~malignant).mean(axis=1)
    return pd.DataFrame({"threshold": thresholds, "model": model, "all": malignant.mean() - odds * (~malignant).mean()})
