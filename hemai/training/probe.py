"""Linear probe: fit the last layer of a network to its features, by logistic regression, instead of training.

The network itself stays as its weights are, and the result is an ordinary checkpoint.
Source: Alain & Bengio, arXiv 1610.01644 (2016).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from scipy.special import xlogy
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from hemai.data.datamodule import CellDataModule
from hemai.data.sampler import balanced_probabilities
from hemai.data.splits import count_folds, split_table
from hemai.evaluation.metrics import compute_metrics
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.predictions import Predictions
from hemai.models.classifier import CellClassifier
from hemai.runs.features import cached_features, last_layer
from hemai.settings.run_folder import RunFolder
from hemai.training.result import split_predictions
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import replace_file
from hemai.utils.terminal import say

STRENGTHS = tuple(10.0**power for power in range(-6, 3))  # values tried for C, the inverse of the penalty
DEFAULT = 1e-3  # where a class has a single group, so that no fold can choose
NEIGHBOURS = 20  # as in Caron et al., ICCV 2021, who found 10 and 20 best
# Settings of a training that a probe would ignore; those that each model config sets are left out.
UNUSED = ("model.adapter", "model.average_weights", "model.compile", "model.loss", "model.label_smoothing")
KNN = ("accuracy", "balanced_accuracy", "auroc")
MAX_ITERATIONS = 5_000


@dataclass(frozen=True)
class Probe:
    """A last layer that was fitted.

    Attributes:
        C: Inverse of the penalty on squared weights, as scikit-learn defines it, for standardised features.
        folds: Number of inner folds; 0 if they could not be made, and C is the default.
        seconds: Time of features and fit.
        neighbours: Metrics of the nearest neighbours of each split, by their keys in `result.json`.
    """

    C: float
    folds: int
    seconds: float
    neighbours: Mapping[str, float]

    def results(self, result: Mapping[str, Any], monitor: str | None) -> dict[str, Any]:
        """What `result.json` tells of the probe, beside the metrics in `result`."""
        found = {name: None if np.isnan(value) else round(value, 7) for name, value in self.neighbours.items()}
        score = result.get(str(monitor))
        return {"probe_C": self.C, "probe_folds": self.folds, "seconds": self.seconds, "score": score, **found}


def check_probe(config: DictConfig, model: CellClassifier, devices: int) -> None:
    """Refuse settings with which a probe cannot be fitted.

    Raises:
        UserError: A setting without effect, several devices, a monitored training metric, or a last layer that is not
            `torch.nn.Linear`.
    """
    for setting in UNUSED:
        if OmegaConf.select(config, setting):
            raise UserError(f"{setting}: a probe fits the last layer alone; remove it")
    if devices > 1:
        raise UserError(f"probe=true on {devices} devices: it is fitted on one; set trainer.devices=1")
    if str(config.monitor).startswith("train/"):
        raise UserError(f"monitor={config.monitor}: a probe has no epochs; choose a metric of val, or null")
    if not isinstance(layer := last_layer(model), nn.Linear):
        raise UserError(
            f"model.backbone={model.hparams['backbone']} ends with {type(layer).__name__}, and a probe fits a linear "
            "layer; choose another network"
        )


def fit_probe(trainer: pl.Trainer, model: CellClassifier, data: CellDataModule, run: RunFolder) -> Probe:
    """Fit the last layer on the training images, as they are without augmentation, and write the best checkpoint.

    Features are standardised by mean and standard deviation over the training images; the layer takes both in. C is the
    value with the lowest cross-entropy over inner folds of the training groups. `data.balance` and
    `model.class_weights` weight the images. Beside it the nearest neighbours (cosine similarity) predict the other
    splits. Features and splits are also written to `features.npz`.

    Args:
        trainer: Trainer of the run, on one device.
        model: Classifier that `check_probe` accepts; changed in place.
        data: Data module that is set up.
        run: Paths of the run folder.

    Raises:
        UserError: No training image of a class, or features that are not finite.
    """
    start, layer, metadata = time.monotonic(), cast(nn.Linear, last_layer(model)), model.hparams["metadata"]
    if not (metadata.get("start") or metadata.get("pretrained")):
        say("WARNING: the features are those of random weights; set model.pretrained=true or model.weights=FILE")
    features = np.asarray(cached_features(model, data.cache)[data.table["row"].to_numpy()])
    rows = data.rows["train"]
    if missing := [data.dataset.classes[i] for i, count in enumerate(data.class_counts()) if count == 0]:
        raise UserError(f"no training image of {shorten(missing)}; a probe needs images of every class")
    if not np.isfinite(features).all():
        raise UserError("features that are not finite; are the weights those of this network?")
    mean, std = _mean_and_std(features[rows])
    scaled = (features - mean) / std
    weights, targets = _image_weights(model, data), data.targets[rows]
    losses, folds = _losses(scaled[rows], targets, weights, data)
    best = min(losses, key=losses.__getitem__) if losses else DEFAULT
    _set_layer(layer, _fit(scaled[rows], targets, weights, best), mean, std)
    neighbours = _neighbours(scaled, data, list(model.classes), list(model.positive))
    metadata |= {"probe": {"C": best, "folds": folds}}
    trainer.strategy.connect(model)
    trainer.save_checkpoint(run.best, weights_only=True)
    path, label, group, split = (data.table[name].to_numpy(str) for name in ("path", "label", "group", "split"))
    with replace_file(run.features) as file:
        np.savez(file, features=features, path=path, label=label, group=group, split=split)
    return Probe(best, folds, time.monotonic() - start, neighbours)


def predict_probe(
    trainer: pl.Trainer,
    model: CellClassifier,
    data: CellDataModule,
    split: str,
    point: OperatingPoint | None = None,
) -> Predictions:
    """Predict every image of a split from its features; the same as `hemai.training.result.predict_split`, sooner."""
    rows = data.rows[split]
    features = cached_features(model, data.cache)[data.table["row"].to_numpy()[rows]]
    layer = last_layer(model).cpu()
    with torch.inference_mode():
        return split_predictions(model, data, rows, layer(torch.from_numpy(features)), point)


def _image_weights(model: CellClassifier, data: CellDataModule) -> np.ndarray:
    """Weight of each training image, with a mean of 1."""
    rows, weights = data.rows["train"], np.ones(len(data.rows["train"]))
    if data.balance:
        groups = data.table["group"].cat.codes.to_numpy()[rows] if data.balance == "group" else None
        weights = balanced_probabilities(data.targets[rows], groups)
    if (of_class := model.hparams["class_weights"]) is not None:
        weights = weights * np.asarray(of_class)[data.targets[rows]]
    return weights / weights.mean()


def _mean_and_std(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature; infinite for a constant one, which then gets no weight."""
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    is_constant = std <= 1e-6 * np.maximum(np.abs(mean), std.max())
    return mean, np.where(is_constant, np.inf, std)


def _fit(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(features, targets, weights)


def _losses(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, data: CellDataModule
) -> tuple[dict[float, float], int]:
    """Mean cross-entropy over inner folds of whole groups, for each C; and the number of folds."""
    table = data.table.iloc[data.rows["train"]].astype({"label": str, "group": str, "fold": str})
    if (folds := count_folds(table)) < 2:
        return {}, 0
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fold in range(folds):
        is_held = (split_table(table, "kfold", data.seed, fold, folds, (), {"train": 1.0}) == "test").to_numpy()
        # Standardised anew: a held-out group must not shape what it is predicted from.
        mean, std = _mean_and_std(features[~is_held])
        scaled = (features - mean) / std
        truth = np.eye(len(data.dataset.classes))[targets[is_held]]
        for strength in STRENGTHS:
            fitted = _fit(scaled[~is_held], targets[~is_held], weights[~is_held], strength)
            probabilities = np.clip(fitted.predict_proba(scaled[is_held]), 1e-12, 1)
            losses[strength] -= float(weights[is_held] @ xlogy(truth, probabilities).sum(axis=1)) / weights.sum()
    return losses, folds


def _set_layer(layer: nn.Linear, fitted: LogisticRegression, mean: np.ndarray, std: np.ndarray) -> None:
    """Write a regression on standardised features into a layer that gets the features as they are."""
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(coefficients) == 1:  # of two classes, scikit-learn keeps the difference of their logits
        coefficients, intercepts = (np.concatenate([-half, half]) for half in (coefficients / 2, intercepts / 2))
    weight = coefficients / std
    bias = intercepts - weight @ mean
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))


def _neighbours(scaled: np.ndarray, data: CellDataModule, classes: list[str], positive: list[str]) -> dict[str, float]:
    """Metrics of the nearest neighbours among the training images, on every other split."""
    rows = data.rows["train"]
    search = KNeighborsClassifier(min(NEIGHBOURS, len(rows)), metric="cosine").fit(scaled[rows], data.targets[rows])
    found: dict[str, float] = {}
    for split in data.split_names()[1:]:
        probabilities = search.predict_proba(scaled[data.rows[split]])
        logits: Any = torch.from_numpy(np.log(np.maximum(probabilities, 1e-12)))
        targets = torch.from_numpy(data.targets[data.rows[split]])
        metrics = compute_metrics(logits, targets, classes, positive)
        found |= {f"{split}/knn_{name}": metrics[name] for name in KNN}
    return found
