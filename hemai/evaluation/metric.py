"""What a metric is: how it is computed from images that count equally, and from weighted sums of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

UNDEFINED = math.nan  # e.g. the recall of a class without images: never a silent 0
# Outcomes of images: malignant and predicted so, malignant and missed, benign and predicted malignant, benign and
# predicted so. Each is an index into an array of four counts or sums of weights.
FOUND, MISSED, WRONG, CLEARED = range(4)
MALIGNANT, BENIGN, PREDICTED = [FOUND, MISSED], [WRONG, CLEARED], [FOUND, WRONG]


@dataclass(frozen=True)
class Images:
    """Inputs of a metric for which all images count equally.

    Attributes:
        logits: float64, shape (N, classes).
        targets, predicted: Index of the true and of the predicted class, int64, shape (N,).
        recalls: Recall of each class, shape (classes,); NaN for a class without images.
        probability, malignant, called: Probability of malignancy, true and predicted malignancy, shape (N,).
    """

    logits: torch.Tensor
    targets: torch.Tensor
    predicted: torch.Tensor
    recalls: torch.Tensor
    probability: torch.Tensor
    malignant: torch.Tensor
    called: torch.Tensor


@dataclass(frozen=True)
class Sums:
    """Inputs of a weighted metric: sums of weights, for R weightings of the images at once.

    Attributes:
        confusion: Shape (R, classes, classes): rows are true classes, columns predicted ones.
        loss: Weighted sum of the cross-entropies, shape (R,).
        outcomes: Weight of each outcome, shape (4, R), see `FOUND`.
        malignant, benign: Weight of the images at each probability of malignancy, ascending, shape (R, probabilities);
            of several networks one after the other.
        first: Column of the lowest probability of each network, ascending.
        class_aurocs: AUROC of each class against the others, shape (R, classes); no columns for two classes.
    """

    confusion: np.ndarray
    loss: np.ndarray
    outcomes: np.ndarray
    malignant: np.ndarray
    benign: np.ndarray
    first: np.ndarray
    class_aurocs: np.ndarray


@dataclass(frozen=True)
class Metric:
    """Definition of a metric: a fraction 0..1, or another number.

    Attributes:
        name: Name in files and tables.
        value: Computes the metric with all images counted equally.
        weighted: Computes the metric for many weightings at once, shape (R,).
        kind: What it rates: the classes; or malignant against benign, by a threshold of the probability or by ranking.
        needs: Outcomes without which it is not defined.
        interval: What its interval comes from, see `hemai.evaluation.intervals.group_intervals`.
        rests_on: Mask of the images that it uses, from `Predictions`; None: all.
        is_main: Whether it is shown where space is limited.
        is_fraction: Whether it lies in 0..1.
        fewest_classes: Number of classes from which it is computed.
    """

    name: str
    value: Callable[[Images], torch.Tensor]
    weighted: Callable[[Sums], np.ndarray]
    kind: Literal["classes", "threshold", "ranking"] = "classes"
    needs: Sequence[list[int]] = ()
    interval: Literal["correct", "recalls", "outcomes", "ranks", "jackknife"] = "jackknife"
    rests_on: Callable[[Any], np.ndarray] | None = None
    is_main: bool = False
    is_fraction: bool = True
    fewest_classes: int = 2

    def is_defined(self, outcomes: np.ndarray) -> np.ndarray:
        """Whether all needed outcomes occur, given counts or sums of weights of shape (4, ...)."""
        return np.all([outcomes[need].sum(axis=0) > 0 for need in self.needs], axis=0)


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = UNDEFINED) -> np.ndarray:
    """Divide elementwise; `empty` where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), float(empty)), where=whole > 0)
