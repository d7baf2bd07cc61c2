"""Calibration and selective prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, logsumexp
from sklearn.linear_model import LogisticRegression
from torchmetrics.functional.classification import multiclass_calibration_error

from hemai.evaluation.predictions import Predictions

BINS = 15
COVERAGES = np.arange(1.0, 0.0, -0.05)


def calibration_metrics(predictions: Predictions) -> dict[str, float]:
    """Expected calibration error (ECE) and Brier score.

    Returns:
        `ece`: mean absolute difference of confidence and accuracy over 15 bins of equal width, weighted by images (Guo
        et al., ICML 2017). `brier`: mean squared difference of the probability of malignancy from 0 or 1 (Brier
        1950); without positive classes the sum over all classes. `brier_classes`: this sum, for more than two classes.
    """
    probabilities, targets = torch.tensor(predictions.probabilities), torch.tensor(predictions.targets)
    ece = multiclass_calibration_error(probabilities, targets, len(predictions.classes), n_bins=BINS)
    one_hot = np.eye(len(predictions.classes))[predictions.targets]
    brier = brier_classes = float(((predictions.probabilities - one_hot) ** 2).sum(axis=1).mean())
    if predictions.positive:
        brier = float(np.mean((predictions.malignant_probability - predictions.malignant) ** 2))
    of_classes = {"brier_classes": brier_classes} if len(predictions.classes) > 2 else {}
    return {"ece": round(float(ece), 7), "brier": brier} | of_classes


def calibration_line(predictions: Predictions) -> dict[str, float]:
    """Slope and intercept of a logistic regression of malignancy on the logit of its probability, with intervals.

    Returns:
        `calibration_slope`: 1 is best, below 1 the network is overconfident. `calibration_intercept`: at a slope of 1;
        0 is best, below 0 the network predicts malignancy too often. Each with `/low` and `/high`, from standard errors
        robust to correlation within groups, with Student's t and the number of groups less one. Empty without positive
        classes; NaN where they are not identified: a constant score, one that separates the classes, probabilities that
        are all 0 or 1, or a class with fewer than two groups.

    Source: Van Calster et al., BMC Med. 17 (2019) 230; Liang & Zeger, Biometrika 73 (1986) 13, for the errors.
    """
    if not predictions.positive:
        return {}
    score = _score(predictions)
    malignant, (codes, _) = predictions.malignant, predictions.group_codes()
    ones = np.ones_like(score)
    fits = {"slope": (np.stack([score, ones], axis=1), 0 * score), "intercept": (ones[:, None], score)}
    is_defined = min(len(np.unique(codes[malignant])), len(np.unique(codes[~malignant]))) > 1
    line: dict[str, float] = {}
    for name, (columns, offset) in fits.items():
        value = error = np.nan
        if is_defined and not (name == "slope" and _is_separated(score, malignant)):
            value, error = _first_coefficient(columns, offset, malignant, codes)
        step = stats.t.ppf(0.975, codes.max()) * error
        line |= {f"calibration_{name}{end}": value + sign * step for end, sign in (("/low", -1), ("/high", 1))}
        line[f"calibration_{name}"] = value
    return line


def _score(predictions: Predictions) -> np.ndarray:
    """Finite logit of the probability of malignancy."""
    return np.asarray(logit(np.clip(predictions.malignant_probability, 1e-12, 1 - 1e-12)))


def _is_separated(score: np.ndarray, malignant: np.ndarray) -> bool:
    one, other = score[malignant], score[~malignant]
    return bool(np.ptp(score) == 0 or one.min() >= other.max() or one.max() <= other.min())


def _first_coefficient(
    columns: np.ndarray, offset: np.ndarray, malignant: np.ndarray, codes: np.ndarray
) -> tuple[float, float]:
    """First coefficient of a logistic regression, and its standard error over groups."""
    coefficients = np.zeros(columns.shape[1])
    for _ in range(100):  # Newton's method
        probability = expit(columns @ coefficients + offset)
        information = columns.T @ (columns * (probability * (1 - probability))[:, None])
        residuals = columns * (malignant - probability)[:, None]
        step = np.linalg.solve(information + 1e-12 * np.eye(len(information)), residuals.sum(axis=0))
        coefficients += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    if np.linalg.eigvalsh(information / len(malignant))[0] < 1e-6:
        return np.nan, np.nan
    scores = np.stack([np.bincount(codes, column) for column in residuals.T], axis=1)
    groups, inverse = len(scores), np.linalg.inv(information)
    covariance = groups / (groups - 1) * inverse @ scores.T @ scores @ inverse
    return float(coefficients[0]), float(np.sqrt(covariance[0, 0]))


def reliability(predictions: Predictions) -> pd.DataFrame:
    """Mean confidence and accuracy of the images in each of 15 confidence bins.

    Returns:
        One row per non-empty bin: `low, high` (limits of the bin), `images`, `confidence`, `accuracy`.
    """
    confidence = predictions.probabilities.max(axis=1)
    edges = np.linspace(0, 1, BINS + 1)
    table = pd.DataFrame(
        {
            "bin": np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1),
            "confidence": confidence,
            "correct": predictions.correct,
        }
    )
    bins = table.groupby("bin").agg(
        images=("correct", "size"), confidence=("confidence", "mean"), accuracy=("correct", "mean")
    )
    bins["images"] = (bins["images"] / predictions.repeats).round().astype(int)
    bins.insert(0, "low", edges[bins.index])
    bins.insert(1, "high", edges[bins.index + 1])
    return bins.reset_index(drop=True)


def risk_coverage(predictions: Predictions) -> pd.DataFrame:
    """Accuracy when only the most confident predictions are kept.

    Returns:
        `coverage` (fraction of images kept), `images`, `accuracy`, `least_confidence` (the lowest that is kept).
    """
    confidence = predictions.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    kept = np.maximum(1, np.ceil(COVERAGES * len(order) - 1e-9).astype(int))
    accuracy = predictions.correct[order].cumsum() / np.arange(1, len(order) + 1)
    return pd.DataFrame(
        {
            "coverage": COVERAGES.round(2),
            "images": -(-kept // predictions.repeats),
            "accuracy": accuracy[kept - 1],
            "least_confidence": confidence[order][kept - 1],
        }
    )


def fit_temperature(validation: Predictions) -> float:
    """Fit the temperature, 0.05 to 20, that minimises the cross-entropy on validation images.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits, targets = validation.logits, validation.targets

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(targets)), targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def fit_slope_and_intercept(validation: Predictions) -> tuple[float, float] | None:
    """Fit the slope and intercept of the logit of malignancy that minimise the cross-entropy on validation images.

    Returns:
        None unless there are two classes, one of them malignant, that the probability does not separate.

    Source: Cox, Biometrika 45 (1958) 562; Platt, Advances in Large Margin Classifiers (1999), whose smoothed targets
    are left out.
    """
    malignant = validation.malignant
    if len(validation.classes) != 2 or len(set(malignant)) < 2 or _is_separated(_score(validation), malignant):
        return None
    line = LogisticRegression(C=np.inf, tol=1e-8).fit(_score(validation)[:, None], malignant)
    return float(line.coef_[0, 0]), float(line.intercept_[0])


def recalibrate(predictions: Predictions, slope: float | np.ndarray, intercept: float | np.ndarray) -> Predictions:
    """The predictions after `fit_slope_and_intercept`; slope and intercept are one number, or one for each image."""
    score = slope * _score(predictions) + intercept
    is_positive = np.isin(predictions.classes, predictions.positive)
    return replace(predictions, logits=score[:, None] * is_positive, temperature=None)
