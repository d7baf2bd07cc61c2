"""The metrics of a set of images, each defined once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_f1_score,
    binary_precision,
    binary_recall,
    binary_specificity,
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from hemai.outcomes import UNDEFINED, Images, Outcomes, Weighted, ratio


@dataclass(frozen=True)
class Metric:
    """A metric: a fraction 0..1, or a positive number.

    Attributes:
        name: In files and tables.
        value: Of images that count alike.
        weighted: The same for many weightings at once.
        kind: Of the classes; or of malignant against benign, by a threshold of the probability or by its ranking.
        needs: Sums of outcomes without which it is not defined.
        rests_on: Mask of the images that it is a fraction of, from `Predictions`; None: all.
        is_main: Whether it is shown where there is room for a few.
        is_fraction: Whether it lies in 0..1.
        skips_classes: Whether a class without images is left out of a mean, silently.
    """

    name: str
    value: Callable[[Images], torch.Tensor]
    weighted: Callable[[Weighted], np.ndarray]
    kind: Literal["classes", "threshold", "ranking"] = "classes"
    needs: Sequence[Callable[[Outcomes], Any]] = ()
    rests_on: Callable[[Any], np.ndarray] | None = None
    is_main: bool = False
    is_fraction: bool = True
    skips_classes: bool = False

    def is_defined(self, outcomes: Outcomes) -> Any:
        """Whether images of all needed outcomes are there; bool, or an array of it."""
        return math.prod((need(outcomes) > 0 for need in self.needs), start=np.True_)


def _weighted_balanced_accuracy(counts: Weighted) -> np.ndarray:
    there = counts.true > 0
    return ratio(np.where(there, counts.recalls, 0).sum(axis=1), there.sum(axis=1))


def _weighted_f1_weighted(counts: Weighted) -> np.ndarray:
    f1 = ratio(2 * counts.correct, counts.true + counts.confusion.sum(axis=1), empty=0)
    return ratio((f1 * counts.true).sum(axis=1), counts.true.sum(axis=1))


def _weighted_auroc(counts: Weighted) -> np.ndarray:
    """Fraction of pairs of a malignant and a benign image that the score puts in order; equal scores count half."""
    below = counts.benign.cumsum(axis=1) - counts.benign
    pairs = counts.malignant.sum(axis=1) * counts.benign.sum(axis=1)
    return ratio((counts.malignant * (below + counts.benign / 2)).sum(axis=1), pairs)


def _malignant(outcomes: Outcomes) -> Any:
    return outcomes.found + outcomes.missed


def _benign(outcomes: Outcomes) -> Any:
    return outcomes.cleared + outcomes.wrong


def _called(outcomes: Outcomes) -> Any:
    return outcomes.found + outcomes.wrong


# In the order in which they are shown. A new metric is a row here; everything else follows.
METRICS: tuple[Metric, ...] = (
    Metric(
        "accuracy",
        lambda i: multiclass_accuracy(i.predicted, i.targets, i.classes, average="micro"),
        lambda w: ratio(w.correct.sum(axis=1), w.true.sum(axis=1)),
        is_main=True,
    ),
    Metric(
        "balanced_accuracy",
        lambda i: i.recalls.nanmean(),
        _weighted_balanced_accuracy,
        is_main=True,
        skips_classes=True,
    ),
    Metric(
        "recall",
        lambda i: binary_recall(i.called, i.malignant),
        lambda w: ratio(w.outcomes.found, _malignant(w.outcomes)),
        kind="threshold",
        needs=(_malignant,),
        rests_on=lambda predictions: predictions.malignant,
        is_main=True,
    ),
    Metric(
        "specificity",
        lambda i: binary_specificity(i.called, i.malignant),
        lambda w: ratio(w.outcomes.cleared, _benign(w.outcomes)),
        kind="threshold",
        needs=(_benign,),
        rests_on=lambda predictions: ~predictions.malignant,
        is_main=True,
    ),
    Metric(
        "precision",
        lambda i: binary_precision(i.called, i.malignant),
        lambda w: ratio(w.outcomes.found, _called(w.outcomes)),
        kind="threshold",
        needs=(_called,),
    ),
    Metric(
        "f1",
        lambda i: binary_f1_score(i.called, i.malignant),
        lambda w: ratio(2 * w.outcomes.found, _malignant(w.outcomes) + _called(w.outcomes)),
        kind="threshold",
        needs=(_malignant,),
    ),
    Metric(
        "auroc",
        lambda i: binary_auroc(i.probability, i.malignant),
        _weighted_auroc,
        kind="ranking",
        needs=(_malignant, _benign),
        is_main=True,
    ),
    Metric(
        "loss",
        lambda i: cross_entropy(i.logits, i.targets),
        lambda w: ratio(w.loss, w.true.sum(axis=1)),
        is_fraction=False,
    ),
    Metric(
        "f1_weighted",
        lambda i: multiclass_f1_score(i.predicted, i.targets, i.classes, average="weighted"),
        _weighted_f1_weighted,
    ),
    Metric("recall_macro", lambda i: i.recalls.mean(), lambda w: w.recalls.mean(axis=1)),
)
AT_THRESHOLD = "at_threshold/"  # before the name of a metric at the threshold of a checkpoint
MAIN = tuple(metric.name for metric in METRICS if metric.is_main)


def metrics_of(classes: Sequence[str]) -> tuple[Metric, ...]:
    """All metrics, with the recall of each class."""
    return METRICS + tuple(_recall_of(target, label) for target, label in enumerate(classes))


def metric_named(name: str, classes: Sequence[str]) -> Metric:
    """The metric of this name, which may be one at the threshold of a checkpoint."""
    return next(metric for metric in metrics_of(classes) if metric.name == name.removeprefix(AT_THRESHOLD))


def _recall_of(target: int, label: str) -> Metric:
    return Metric(
        f"recall/{label}",
        lambda i: i.recalls[target],
        lambda w: w.recalls[:, target],
        rests_on=lambda predictions: predictions.targets == target,
    )


def compute_figures(
    logits: torch.Tensor, targets: torch.Tensor, classes: Sequence[str], positive: Sequence[str]
) -> dict[str, float]:
    """Compute every metric once, on all images together.

    `recall` (sensitivity), `specificity`, `precision`, `f1` and `auroc` are those of malignant
    against benign: an image is predicted malignant when the probabilities of the positive classes sum
    to 0.5 or more. `accuracy`, `balanced_accuracy` (the mean recall of the classes that are there, as
    in scikit-learn), `recall_macro` (not defined if a class is missing), `f1_weighted` (by images of
    a class, the official metric of C-NMC 2019) and `recall/<class>` are those of the classes. `loss`
    is the mean cross-entropy of an image, without class weights or label smoothing.

    Args:
        logits: Shape (N, classes), any float type.
        targets: int64, shape (N,).
        classes: Names; the position is the target.
        positive: The malignant ones; if empty, their metrics are not defined.

    Returns:
        Name -> value, in the order of `METRICS`; NaN where a metric is not defined.
    """
    logits, targets = logits.double(), targets.long()
    of_positive = torch.tensor([classes.index(label) for label in positive], dtype=torch.long, device=targets.device)
    rows = slice(None) if positive else slice(0)
    probability = logits.softmax(dim=1)[rows, of_positive].sum(dim=1)
    malignant = torch.isin(targets[rows], of_positive).long()
    # torchmetrics calls "positive" what lies above its threshold, not what reaches it.
    images = Images(logits, targets, probability, malignant, (probability >= 0.5).long())
    figures = {}
    for metric in metrics_of(classes):
        is_defined = len(targets) and metric.is_defined(images.outcomes)
        value = metric.value(images).item() if is_defined else UNDEFINED
        # torchmetrics divides in float32: digits after the seventh are noise.
        figures[metric.name] = round(value, 7) if metric.is_fraction else value
    return figures


def confusion_matrix(logits: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts, int64, shape (classes, classes): rows are true classes, columns predicted ones."""
    return multiclass_confusion_matrix(logits.argmax(dim=1), targets, classes)
