"""Metrics of a set of images, each defined once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, matthews_corrcoef
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_f1_score,
    binary_negative_predictive_value,
    binary_precision,
    binary_recall,
    binary_specificity,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_recall,
)

from hemai.evaluation.metric import (
    BENIGN,
    CLEARED,
    FOUND,
    MALIGNANT,
    MISSED,
    PREDICTED,
    UNDEFINED,
    Images,
    Metric,
    Sums,
    ratio,
)

AT_THRESHOLD = "at_threshold/"  # prefix of a metric at the threshold of a checkpoint


def weighted_recalls(sums: Sums) -> np.ndarray:
    """Recall of each class, shape (R, classes); NaN where a class has no weight."""
    return ratio(np.einsum("rii->ri", sums.confusion), sums.confusion.sum(axis=2))


def _weighted_balanced_accuracy(sums: Sums) -> np.ndarray:
    recalls = weighted_recalls(sums)
    return ratio(np.nansum(recalls, axis=1), (~np.isnan(recalls)).sum(axis=1))


def _weighted_f1_weighted(sums: Sums) -> np.ndarray:
    correct, true = np.einsum("rii->ri", sums.confusion), sums.confusion.sum(axis=2)
    f1 = ratio(2 * correct, true + sums.confusion.sum(axis=1), empty=0)
    return ratio((f1 * true).sum(axis=1), true.sum(axis=1))


def weighted_auroc(ones: np.ndarray, others: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Fraction of pairs of images of one network that it ranks correctly; ties count half.

    Args:
        ones: Weight of the images at each score that should rank higher, see `Sums.malignant`.
        others: Weight of those that should rank lower.
        first: Column of the lowest score of each network.
    """
    pairs = np.add.reduceat(ones, first, axis=1) * np.add.reduceat(others, first, axis=1)
    return ratio((ones * (_below(others, first) + others / 2)).sum(axis=1), pairs.sum(axis=1))


def _below(weights: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Weight at lower scores of the same network."""
    below = weights.cumsum(axis=1) - weights
    return below - np.repeat(below[:, first], np.diff(first, append=below.shape[1]), axis=1)


def _auroc_macro(images: Images) -> torch.Tensor:
    if images.recalls.isnan().any():
        return torch.tensor(UNDEFINED)
    return multiclass_auroc(images.logits.softmax(dim=1), images.targets, len(images.recalls))


def _weighted_auprc(sums: Sums) -> np.ndarray:
    """Mean precision over the malignant images, each at the threshold of its own score, as in scikit-learn.

    Of several networks the precision is that among images of the same network.
    """
    widths = np.diff(sums.first, append=sums.malignant.shape[1])
    found, wrong = (
        np.repeat(np.add.reduceat(weights, sums.first, axis=1), widths, axis=1) - _below(weights, sums.first)
        for weights in (sums.malignant, sums.benign)
    )
    precision = ratio(found, found + wrong, empty=0)
    return ratio((sums.malignant * precision).sum(axis=1), sums.malignant.sum(axis=1))


def _weighted_mcc(sums: Sums) -> np.ndarray:
    found, missed, wrong, cleared = sums.outcomes
    norm = np.sqrt((found + missed) * (found + wrong) * (cleared + missed) * (cleared + wrong))
    return ratio(found * cleared - wrong * missed, norm, empty=0)


def _by_threshold(
    name: str, value: Callable[..., torch.Tensor], part: list[int], whole: list[int], **rest: Any
) -> Metric:
    """Define a fraction of outcomes; it is undefined where `whole` is empty, or `needs` if given."""
    return Metric(
        name,
        lambda i: value(i.called, i.malignant),
        lambda sums: ratio(sums.outcomes[part].sum(axis=0), sums.outcomes[whole].sum(axis=0)),
        kind="threshold",
        interval="outcomes",
        **{"needs": [whole], **rest},
    )


# In display order. To add a metric, add a row here; intervals, files and tables follow.
METRICS: tuple[Metric, ...] = (
    Metric(
        "accuracy",
        lambda i: multiclass_accuracy(i.predicted, i.targets, len(i.recalls), average="micro"),
        lambda sums: ratio(np.einsum("rii->r", sums.confusion), sums.confusion.sum(axis=(1, 2))),
        interval="correct",
        is_main=True,
    ),
    Metric(
        "balanced_accuracy",
        lambda i: i.recalls.nanmean(),
        _weighted_balanced_accuracy,
        interval="recalls",
        is_main=True,
    ),
    _by_threshold("recall", binary_recall, [FOUND], MALIGNANT, rests_on=lambda p: p.malignant, is_main=True),
    _by_threshold("specificity", binary_specificity, [CLEARED], BENIGN, rests_on=lambda p: ~p.malignant, is_main=True),
    _by_threshold("precision", binary_precision, [FOUND], PREDICTED),
    _by_threshold("npv", binary_negative_predictive_value, [CLEARED], [MISSED, CLEARED]),
    _by_threshold("f1", binary_f1_score, [FOUND, FOUND], MALIGNANT + PREDICTED, needs=[MALIGNANT]),
    Metric(
        "auroc",
        lambda i: binary_auroc(i.probability, i.malignant),
        lambda sums: weighted_auroc(sums.malignant, sums.benign, sums.first),
        kind="ranking",
        interval="ranks",
        needs=[MALIGNANT, BENIGN],
        is_main=True,
    ),
    Metric(
        "mcc",
        # 0 where one outcome is never predicted; torchmetrics has another number there.
        lambda i: torch.tensor(matthews_corrcoef(i.malignant.cpu(), i.called.cpu())),
        _weighted_mcc,
        kind="threshold",
        interval="outcomes",
        needs=[MALIGNANT, BENIGN],
        is_fraction=False,
    ),
    Metric(
        "auprc",
        # In float64; torchmetrics sums in float32.
        lambda i: torch.tensor(average_precision_score(i.malignant.cpu(), i.probability.cpu())),
        _weighted_auprc,
        kind="ranking",
        needs=[MALIGNANT],
    ),
    Metric(
        "loss",
        lambda i: cross_entropy(i.logits, i.targets),
        lambda sums: ratio(sums.loss, sums.confusion.sum(axis=(1, 2))),
        is_fraction=False,
    ),
    Metric(
        "f1_weighted",
        lambda i: multiclass_f1_score(i.predicted, i.targets, len(i.recalls), average="weighted"),
        _weighted_f1_weighted,
    ),
    Metric(
        "recall_macro",
        lambda i: i.recalls.mean(),
        lambda sums: weighted_recalls(sums).mean(axis=1),
        interval="recalls",
    ),
    Metric("auroc_macro", _auroc_macro, lambda sums: sums.class_aurocs.mean(axis=1), fewest_classes=3),
)
MAIN = tuple(metric.name for metric in METRICS if metric.is_main)


def metrics_of(classes: Sequence[str]) -> tuple[Metric, ...]:
    """All metrics of so many classes, including the recall of each."""
    metrics = tuple(metric for metric in METRICS if len(classes) >= metric.fewest_classes)
    return metrics + tuple(_recall_of(target, label) for target, label in enumerate(classes))


def _recall_of(target: int, label: str) -> Metric:
    return Metric(
        f"recall/{label}",
        lambda i: i.recalls[target],
        lambda sums: weighted_recalls(sums)[:, target],
        interval="correct",
        rests_on=lambda predictions: predictions.targets == target,
    )


def compute_metrics(
    logits: torch.Tensor, targets: torch.Tensor, classes: Sequence[str], positive: Sequence[str]
) -> dict[str, float]:
    """Compute every metric once, on all images together.

    `recall` (sensitivity), `specificity`, `precision` (positive predictive value), `npv` (negative predictive value),
    `f1`, `mcc` (Matthews' correlation coefficient, -1..1), `auroc` and `auprc` (average precision) are those of
    malignant against benign: an image is predicted malignant when the probabilities of the positive classes sum
    to 0.5 or more. `accuracy`, `balanced_accuracy` (the mean recall of the classes that occur, as
    in scikit-learn), `recall_macro` (not defined if a class is missing), `f1_weighted` (by images per
    class, the official metric of C-NMC 2019) and `recall/<class>` are those of the classes; with more
    than two, `auroc_macro` is the mean AUROC of each class against the others (not defined if one is
    missing). `loss` is the mean cross-entropy per image, without class weights or label smoothing.

    Args:
        logits: Shape (N, classes), any float type.
        targets: Class index of each image, int64, shape (N,).
        classes: Class names; the position is the target.
        positive: Malignant classes; if empty, metrics of malignant against benign are not defined.

    Returns:
        Name -> value, in the order of `METRICS`; NaN where a metric is not defined.
    """
    logits, targets = logits.double(), targets.long()
    predicted = logits.argmax(dim=1)
    recalls = multiclass_recall(logits, targets, len(classes), average="none").double()
    recalls = torch.where(torch.bincount(targets, minlength=len(classes)) > 0, recalls, UNDEFINED)
    of_positive = torch.tensor([classes.index(label) for label in positive], dtype=torch.long, device=targets.device)
    probability = logits.softmax(dim=1)[:, of_positive].sum(dim=1)
    malignant = torch.isin(targets, of_positive).long()
    # torchmetrics predicts "positive" only above its threshold, not at it.
    called = (probability >= 0.5).long()
    outcomes = torch.bincount(2 * (1 - malignant) + 1 - called, minlength=4).cpu().numpy() * bool(positive)
    images = Images(logits, targets, predicted, recalls, probability, malignant, called)
    values = {}
    for metric in metrics_of(classes):
        value = metric.value(images).item() if len(targets) and metric.is_defined(outcomes) else UNDEFINED
        # torchmetrics divides in float32: digits after the seventh are noise.
        values[metric.name] = round(value, 7) if metric.is_fraction else value
    return values


def confusion_matrix(logits: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Confusion matrix, int64, shape (classes, classes): rows are true classes, columns predicted ones."""
    return multiclass_confusion_matrix(logits.argmax(dim=1), targets, classes)
