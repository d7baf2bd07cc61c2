"""Calibration, selective prediction, and the operating point chosen on validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import roc_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from hemai.evaluation.predictions import Predictions

BINS = 15
COVERAGES = np.arange(1.0, 0.0, -0.05)


def calibration_metrics(predictions: Predictions) -> dict[str, float]:
    """ECE and Brier score.

    Returns:
        `ece`: mean distance of confidence and accuracy over 15 bins of equal width, weighted by images (Guo et al.,
        ICML 2017). `brier`: mean squared distance of the probability of being malignant from 0 or 1 (Brier 1950);
        without positive classes the sum over all classes.
    """
    probabilities, targets = torch.tensor(predictions.probabilities), torch.tensor(predictions.targets)
    ece = multiclass_calibration_error(probabilities, targets, len(predictions.classes), n_bins=BINS)
    if predictions.positive:
        brier = np.mean((predictions.malignant_probability - predictions.malignant) ** 2)
    else:
        truth = np.eye(len(predictions.classes))[predictions.targets]
        brier = ((predictions.probabilities - truth) ** 2).sum(axis=1).mean()
    return {"ece": round(float(ece), 7), "brier": float(brier)}


def reliability(predictions: Predictions) -> pd.DataFrame:
    """Confidence and accuracy of the images in each of 15 bins of confidence.

    Returns:
        One row a bin that holds images: `low, high` (limits of the bin), `images`, `confidence`, `accuracy`.
    """
    confidence = predictions.probabilities.max(axis=1)
    edges = np.linspace(0, 1, BINS + 1)
    table = pd.DataFrame(
        {
            "bin": np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1),
            "confidence": confidence,
            "right": predictions.right,
        }
    )
    bins = table.groupby("bin").agg(
        images=("right", "size"), confidence=("confidence", "mean"), accuracy=("right", "mean")
    )
    bins.insert(0, "low", edges[bins.index])
    bins.insert(1, "high", edges[bins.index + 1])
    return bins.reset_index(drop=True)


def risk_coverage(predictions: Predictions) -> pd.DataFrame:
    """Accuracy when the network answers only for the images that it is most sure of.

    Returns:
        `coverage` (share of images that are answered), `images`, `accuracy`, `least_confidence`.
    """
    confidence = predictions.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    answered = np.maximum(1, np.ceil(COVERAGES * len(order) - 1e-9).astype(int))
    accuracy = predictions.right[order].cumsum() / np.arange(1, len(order) + 1)
    return pd.DataFrame(
        {
            "coverage": COVERAGES.round(2),
            "images": answered,
            "accuracy": accuracy[answered - 1],
            "least_confidence": confidence[order][answered - 1],
        }
    )


@dataclass(frozen=True)
class OperatingPoint:
    """How the probabilities of a checkpoint are read.

    Attributes:
        threshold: From this probability of being malignant on, an image is called malignant; None: not chosen.
        threshold_rule: How it was chosen, for the reader.
        temperature: By which logits are divided to make probabilities mean what they say; None: not fitted.
    """

    threshold: float | None
    threshold_rule: str
    temperature: float | None


def choose_operating_point(validation: Predictions | None, rule: str, sensitivity: float) -> OperatingPoint:
    """Choose a threshold by a rule, and fit a temperature.

    Args:
        validation: Predictions of the validation images, if there are any.
        rule: "sensitivity": the highest threshold at which the share `sensitivity` of the malignant images is found.
            "youden": the one with the largest sensitivity + specificity - 1 (Youden 1950; of equal ones the lowest).
            "half": 0.5, whatever the images are.
        sensitivity: 0..1.

    Returns:
        The threshold lies half way between two probabilities, so that rounding on another device changes no call.
        None without validation images, and for the first two rules without images of both kinds.
    """
    temperature = None if validation is None else fit_temperature(validation)
    if rule == "half":
        return OperatingPoint(0.5, "0.5", temperature)
    told = "Youden's index on validation" if rule == "youden" else f"sensitivity {sensitivity:g} on validation"
    if validation is None or not validation.positive or len(set(validation.malignant)) < 2:
        return OperatingPoint(None, f"{told} (not defined: it needs malignant and benign images there)", temperature)
    score, malignant = validation.malignant_probability, validation.malignant
    if rule == "youden":
        wrong, found, scores = roc_curve(malignant, score, drop_intermediate=False)
        gain = (found - wrong).round(12)
        lowest = scores[np.flatnonzero(gain == gain.max())[-1]]
    else:
        # So many malignant images may be missed; the small number forgives 0.95 * 20 > 19.
        missed = int((1 - sensitivity) * malignant.sum() + 1e-9)
        lowest = np.sort(score[malignant])[min(missed, int(malignant.sum()) - 1)]
    below = score[score < lowest]
    return OperatingPoint(float((lowest + below.max(initial=0.0)) / 2), told, temperature)


def fit_temperature(validation: Predictions) -> float:
    """The temperature with the smallest loss, 0.05 to 20.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits, targets = validation.logits, validation.targets

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(targets)), targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
