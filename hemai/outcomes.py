"""What metrics are computed from: images that count alike, or many weightings of them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_recall

UNDEFINED = math.nan  # e.g. the recall of a class without images: never a silent 0


@dataclass(frozen=True)
class Outcomes:
    """Images by what they are and what they are predicted to be: counts, or sums of weights, one for each weighting.

    Attributes:
        found, missed: Malignant images that are predicted malignant or not.
        wrong, cleared: Benign images that are predicted malignant or not.
    """

    found: Any = 0
    missed: Any = 0
    wrong: Any = 0
    cleared: Any = 0


@dataclass(frozen=True)
class Images:
    """What the value of a metric is computed from: all images together.

    Attributes:
        logits, targets: float64, shape (N, classes); class index of each image, int64, shape (N,).
        probability, malignant, called: Of being malignant; 1 for a malignant image, else 0; 1 for an image that is
            predicted malignant, else 0. Shape (N,), empty without positive classes.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    probability: torch.Tensor
    malignant: torch.Tensor
    called: torch.Tensor

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.logits.shape[1]

    @cached_property
    def predicted(self) -> torch.Tensor:
        """Class index of the likeliest class of each image, int64, shape (N,)."""
        return self.logits.argmax(dim=1)

    @cached_property
    def recalls(self) -> torch.Tensor:
        """Recall of each class, shape (classes,); NaN for a class without images."""
        recalls = multiclass_recall(self.logits, self.targets, self.classes, average="none")
        return torch.where(torch.bincount(self.targets, minlength=self.classes) > 0, recalls.double(), UNDEFINED)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Counts of images."""
        counts = torch.bincount(2 * (1 - self.malignant) + 1 - self.called, minlength=4)
        return Outcomes(*counts.tolist())


@dataclass(frozen=True)
class Weighted:
    """What the weighted twin of a metric is computed from, for R weightings of the same images at once.

    Attributes:
        confusion: Sums of weights, shape (R, classes, classes): rows are true classes, columns predicted ones.
        loss: Sum of the weighted cross-entropies, shape (R,).
        outcomes: Each of shape (R,).
        malignant, benign: Sums of weights of the images with each score, rising, shape (R, scores).
    """

    confusion: np.ndarray
    loss: np.ndarray
    outcomes: Outcomes = field(default_factory=Outcomes)
    malignant: np.ndarray = field(default_factory=lambda: np.zeros((1, 0)))
    benign: np.ndarray = field(default_factory=lambda: np.zeros((1, 0)))

    @cached_property
    def correct(self) -> np.ndarray:
        """Of each class, shape (R, classes)."""
        return np.einsum("rii->ri", self.confusion)

    @cached_property
    def true(self) -> np.ndarray:
        """Of each class, shape (R, classes)."""
        return self.confusion.sum(axis=2)

    @cached_property
    def recalls(self) -> np.ndarray:
        """Of each class, shape (R, classes); NaN where a class has no weight."""
        return ratio(self.correct, self.true)


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = UNDEFINED) -> np.ndarray:
    """Divide; `empty` where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), float(empty)), where=whole > 0)
