"""Metrics of many weightings of the same images at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy.special import log_softmax

from hemai.evaluation.metric import Metric, Sums
from hemai.evaluation.metrics import AT_THRESHOLD, metrics_of, weighted_auroc
from hemai.evaluation.predictions import Predictions

ROWS = 256  # weightings at a time: 256 x 10,000 weights take 20 MB


def weighted_metrics(weights: np.ndarray, predictions: Predictions) -> dict[str, np.ndarray]:
    """Metrics of `hemai.evaluation.metrics.compute_metrics` with image i counted `weights[r, i]` times.

    A weight of 0 leaves an image out. Leaving out groups and resampling them are both weightings, computed together.

    Args:
        weights: Non-negative, shape (R, N).
        predictions: Predictions of N images. Without positive classes, metrics of malignant against benign are left
            out; with a threshold, recall and the like at it are added as `at_threshold/<metric>`.

    Returns:
        Name -> float64, shape (R,); NaN where a metric is not defined.
    """
    targets = predictions.targets
    loss = -log_softmax(predictions.logits, axis=1)[np.arange(len(targets)), targets]
    parts = [
        _metrics(rows.astype(np.float64), predictions, loss)
        for rows in np.array_split(weights, -(-len(weights) // ROWS))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _metrics(weights: np.ndarray, predictions: Predictions, loss: np.ndarray) -> dict[str, np.ndarray]:
    count = len(predictions.classes)
    cells = np.eye(count * count)[predictions.targets * count + predictions.logits.argmax(axis=1)]
    score, malignant = predictions.malignant_probability, predictions.malignant
    network = np.zeros(len(score), int) if predictions.network is None else predictions.network
    ranked = _ranked(weights, score, malignant, network)
    of_classes = enumerate(predictions.probabilities.T if count > 2 else ())
    aurocs = [weighted_auroc(*_ranked(weights, own, predictions.targets == i, network)) for i, own in of_classes]
    sums = Sums(
        confusion=(weights @ cells).reshape(-1, count, count),
        loss=weights @ loss,
        outcomes=_outcomes(weights, score >= 0.5, malignant),
        **dict(zip(("malignant", "benign", "first"), ranked, strict=True)),
        class_aurocs=np.stack(aurocs, axis=1) if aurocs else np.empty((len(weights), 0)),
    )
    metrics = metrics_of(predictions.classes)
    if not predictions.positive:
        return _values(sums, [metric for metric in metrics if metric.kind == "classes"])
    values = _values(sums, metrics)
    if predictions.threshold is not None:
        sums = replace(sums, outcomes=_outcomes(weights, score >= predictions.threshold, malignant))
        at_threshold = _values(sums, [metric for metric in metrics if metric.kind == "threshold"])
        values |= {f"{AT_THRESHOLD}{name}": value for name, value in at_threshold.items()}
    return values


def _ranked(
    weights: np.ndarray, score: np.ndarray, is_one: np.ndarray, network: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arguments of `weighted_auroc`, for some of the images against the others."""
    order = np.lexsort([score, network])
    changes = np.diff(network[order], prepend=-1) != 0
    starts = np.flatnonzero(changes | (np.diff(score[order], prepend=-np.inf) != 0))  # of each set of tied scores
    ones, others = (np.add.reduceat(weights[:, order] * kind[order], starts, axis=1) for kind in (is_one, ~is_one))
    return ones, others, np.searchsorted(starts, np.flatnonzero(changes))


def _values(sums: Sums, metrics: Iterable[Metric]) -> dict[str, np.ndarray]:
    return {m.name: np.where(m.is_defined(sums.outcomes), m.weighted(sums), np.nan) for m in metrics}


def _outcomes(weights: np.ndarray, predicted: np.ndarray, malignant: np.ndarray) -> np.ndarray:
    """Sums of weights of the four outcomes, shape (4, R), see `hemai.evaluation.metric.FOUND`."""
    return (weights @ np.eye(4)[2 * ~malignant + ~predicted]).T
