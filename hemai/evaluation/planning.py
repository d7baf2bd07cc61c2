"""How many patients a test needs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from hemai.evaluation.intervals import LEVEL
from hemai.evaluation.posterior import posterior_means
from hemai.evaluation.predictions import Predictions


def patients_needed(predictions: Predictions, half_width: float) -> pd.DataFrame:
    """Number of patients of each class for intervals of recall and specificity of a given half width.

    From the proportion p and the intra-class correlation r of a test at hand (posterior means of a beta-binomial model)
    and its mean number m of images per patient: z**2 * p * (1 - p) * (r + (1 - r) / m) / half_width**2.

    Args:
        predictions: Predictions of malignant and benign images, at their threshold if they have one.
        half_width: Half the width of the interval, above 0 and below 0.5.

    Returns:
        One row each for recall and specificity: `metric, value, correlation, images_per_patient, patients` (at hand),
        `patients_needed`.
    """
    threshold = 0.5 if predictions.threshold is None else predictions.threshold
    found, rows = predictions.malignant_probability >= threshold, []
    z = stats.norm.ppf((1 + LEVEL) / 2)
    for metric, correct, used in (
        ("recall", found, predictions.malignant),
        ("specificity", ~found, ~predictions.malignant),
    ):
        codes, names = pd.factorize(predictions.table["group"][used])
        totals = np.bincount(codes) / predictions.repeats
        value, correlation = posterior_means(np.bincount(codes, correct[used]) / predictions.repeats, totals)
        spread = value * (1 - value) * (correlation + (1 - correlation) / totals.mean())
        needed = math.ceil(z**2 * spread / half_width**2)
        rows.append((metric, value, correlation, totals.mean(), len(names), needed))
    columns = ["metric", "value", "correlation", "images_per_patient", "patients", "patients_needed"]
    return pd.DataFrame(rows, columns=columns)
