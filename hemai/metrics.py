"""All figures of a set of images, from its logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    multiclass_recall,
)

MAIN = ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc")  # where there is room for a few
UNDEFINED = math.nan  # e.g. the recall of a class without images: never a silent 0


def compute_figures(
    logits: torch.Tensor, targets: torch.Tensor, classes: Sequence[str], positive: Sequence[str]
) -> dict[str, float]:
    """Compute every figure once, on all images together.

    `recall` (sensitivity), `specificity`, `precision`, `f1` and `auroc` are those of malignant
    against benign: an image is called malignant when the probabilities of the positive classes sum
    to 0.5 or more. `accuracy`, `balanced_accuracy` (the mean recall of the classes that are there, as
    in scikit-learn), `recall_macro` (not defined if a class is missing), `f1_weighted` (by images of
    a class, the official metric of C-NMC 2019) and `recall/<class>` are those of the classes. `loss`
    is the mean cross-entropy of an image, without class weights or label smoothing.

    Args:
        logits: Shape (N, classes), any float type.
        targets: int64, shape (N,).
        classes: Names; the position is the target.
        positive: The malignant ones; if empty, their figures are not defined.

    Returns:
        Name -> value; NaN where the figure is not defined.
    """
    logits, targets = logits.double(), targets.long()
    count = len(classes)
    predicted = logits.argmax(dim=1)
    images = torch.bincount(targets, minlength=count)
    recalls = multiclass_recall(logits, targets, count, average="none")
    recalls = torch.where(images > 0, recalls.double(), UNDEFINED)
    figures = {
        "loss": cross_entropy(logits, targets).item() if len(targets) else UNDEFINED,
        "accuracy": multiclass_accuracy(predicted, targets, count, average="micro").item(),
        "balanced_accuracy": recalls.nanmean().item(),
        "f1_weighted": multiclass_f1_score(predicted, targets, count, average="weighted").item(),
        "recall_macro": recalls.mean().item(),
    }
    figures |= {f"recall/{label}": recall for label, recall in zip(classes, recalls.tolist(), strict=True)}
    figures |= _malignant_figures(logits, targets, classes, positive)
    # torchmetrics divides in float32: digits after the seventh are noise.
    return {name: value if name == "loss" else round(value, 7) for name, value in figures.items()}


def _malignant_figures(
    logits: torch.Tensor, targets: torch.Tensor, classes: Sequence[str], positive: Sequence[str]
) -> dict[str, float]:
    figures = dict.fromkeys(("recall", "specificity", "precision", "f1", "auroc"), UNDEFINED)
    if not positive:
        return figures
    of_positive = [classes.index(label) for label in positive]
    probability = logits.softmax(dim=1)[:, of_positive].sum(dim=1)
    malignant = torch.isin(targets, torch.tensor(of_positive, device=targets.device)).long()
    # torchmetrics calls "positive" what lies above its threshold, not what reaches it.
    called = (probability >= 0.5).long()
    positives, negatives = int(malignant.sum()), int((1 - malignant).sum())
    if positives:
        figures["recall"] = binary_recall(called, malignant).item()
        figures["f1"] = binary_f1_score(called, malignant).item()
    if negatives:
        figures["specificity"] = binary_specificity(called, malignant).item()
    if called.any():
        figures["precision"] = binary_precision(called, malignant).item()
    if positives and negatives:
        figures["auroc"] = binary_auroc(probability, malignant).item()
    return figures


def confusion_matrix(logits: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts, int64, shape (classes, classes): rows are true classes, columns predicted ones."""
    return multiclass_confusion_matrix(logits.argmax(dim=1), targets, classes)
