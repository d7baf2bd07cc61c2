"""Whether probabilities mean what they say, and what is gained by leaving doubtful images to a human."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from hemai.evaluation.predictions import Predictions

BINS = 15
COVERAGES = np.arange(1.0, 0.0, -0.05)


def calibration_figures(predictions: Predictions) -> dict[str, float]:
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


def abstention(predictions: Predictions) -> pd.DataFrame:
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
