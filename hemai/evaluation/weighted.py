"""The figures of `hemai.metrics` under many weightings of the same images at once."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from hemai.evaluation.predictions import Predictions

ROWS = 256  # weightings at a time: the memory of 256 x 10,000 weights is 20 MB


def weighted_figures(weights: np.ndarray, predictions: Predictions) -> dict[str, np.ndarray]:
    """Figures as of `hemai.metrics.compute_figures`, where image i counts `weights[r, i]` times.

    A weight of 0 leaves an image out, so leaving out groups and drawing them again and again are both
    weightings, computed together.

    Args:
        weights: 0 or more, shape (R, N).
        predictions: Of N images. Without positive classes their figures are left out; with a threshold, recall and
            the like at it are added as `at_threshold/<figure>`.

    Returns:
        Name -> float64, shape (R,); NaN where a figure is not defined.
    """
    targets = predictions.targets
    loss = -log_softmax(predictions.logits, axis=1)[np.arange(len(targets)), targets]
    parts = [
        _figures(rows.astype(np.float64), predictions, loss)
        for rows in np.array_split(weights, -(-len(weights) // ROWS))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _figures(weights: np.ndarray, predictions: Predictions, loss: np.ndarray) -> dict[str, np.ndarray]:
    classes, targets, probabilities = predictions.classes, predictions.targets, predictions.probabilities
    count = len(classes)
    cells = np.eye(count * count)[targets * count + probabilities.argmax(axis=1)]
    confusion = (weights @ cells).reshape(-1, count, count)  # rows are true classes
    right, true, called = np.einsum("rii->ri", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    total = true.sum(axis=1)
    recalls = _ratio(right, true)
    there = true > 0
    figures = {
        "loss": _ratio(weights @ loss, total),
        "accuracy": _ratio(right.sum(axis=1), total),
        "balanced_accuracy": _ratio(np.where(there, recalls, 0).sum(axis=1), there.sum(axis=1)),
        "f1_weighted": _ratio((_ratio(2 * right, true + called, empty=0) * true).sum(axis=1), total),
        "recall_macro": recalls.mean(axis=1),
    }
    figures |= {f"recall/{label}": recalls[:, target] for target, label in enumerate(classes)}
    if predictions.positive:
        score, malignant = predictions.malignant_probability, predictions.malignant
        figures |= _called_figures(weights, score >= 0.5, malignant)
        figures["auroc"] = _auroc(weights, score, malignant)
        if predictions.threshold is not None:
            at_threshold = _called_figures(weights, score >= predictions.threshold, malignant)
            figures |= {f"at_threshold/{name}": values for name, values in at_threshold.items()}
    return figures


def _called_figures(weights: np.ndarray, called: np.ndarray, malignant: np.ndarray) -> dict[str, np.ndarray]:
    right, missed = weights @ (malignant & called), weights @ (malignant & ~called)
    wrong, cleared = weights @ (~malignant & called), weights @ (~malignant & ~called)
    f1 = _ratio(2 * right, 2 * right + missed + wrong)
    return {
        "recall": _ratio(right, right + missed),
        "specificity": _ratio(cleared, cleared + wrong),
        "precision": _ratio(right, right + wrong),
        "f1": np.where(right + missed > 0, f1, np.nan),
    }


def _auroc(weights: np.ndarray, score: np.ndarray, malignant: np.ndarray) -> np.ndarray:
    """Share of pairs of a malignant and a benign image that the score puts in order; equal scores count half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # of each run of equal scores
    in_order = weights[:, order]
    above = np.add.reduceat(in_order * malignant[order], starts, axis=1)
    beside = np.add.reduceat(in_order * ~malignant[order], starts, axis=1)
    below = beside.cumsum(axis=1) - beside
    pairs = above.sum(axis=1) * beside.sum(axis=1)
    return _ratio((above * (below + beside / 2)).sum(axis=1), pairs)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), float(empty)), where=whole > 0)
