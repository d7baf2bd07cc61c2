"""Build what a configuration describes: data module, classifier, predictions to choose a threshold on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import hemai
from hemai.data.appearance import load_appearance
from hemai.data.datamodule import CellDataModule
from hemai.evaluation.prediction_files import read_predictions
from hemai.evaluation.predictions import Predictions
from hemai.models.checks import check_data
from hemai.models.classifier import CellClassifier
from hemai.models.loss import balanced_class_weights
from hemai.settings.instantiate import build
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError, shorten

# Packages whose version a run records; of albumentations and its fork one is installed.
PACKAGES = (
    "torch",
    "timm",
    "pytorch-lightning",
    "torchmetrics",
    "albumentations",
    "nrtk-albumentations",
    "opencv-python-headless",
    "numpy",
)


def build_data(config: DictConfig, transform: ImagePipeline | None = None) -> CellDataModule:
    """Build the data module of a configuration; its `setup` then checks, caches and splits the images.

    Args:
        config: Configuration composed from `configs/train.yaml`.
        transform: Pipeline to use instead of the configured one.

    Raises:
        UserError: See `hemai.data.CellDataModule`; also a missing data set.
    """
    return build(config.data, transform=transform or build(config.transform))


def build_model(config: DictConfig, data: CellDataModule) -> CellClassifier:
    """Build the classifier of a configuration for the classes of `data`, which is set up.

    Raises:
        UserError: See `hemai.models.classifier.CellClassifier`.
    """
    weights = config.model.class_weights
    training = {
        "class_counts": data.class_counts(),
        "balance": data.balance,
        "appearance": training_appearance(data),
    }
    model: CellClassifier = build(
        config.model,
        class_weights=balanced_class_weights(data.class_counts()) if weights == "balanced" else weights,
        classes=list(data.dataset.classes),
        positive=list(data.dataset.positive),
        metadata={**data.metadata(), **training, "versions": _versions()},
    )
    check_data(model, model.hparams, data)
    return model


def training_appearance(data: CellDataModule) -> dict[str, Any]:
    """Summary of the training images of `data`, which is set up; see `hemai.data.appearance.load_appearance`."""
    trained = data.table.iloc[data.rows["train"]]
    files = [data.dataset.root / path for path in trained["path"]]
    return load_appearance(
        data.cache.folder, data.cache.images, trained["row"].to_numpy(), files, trained["group"].tolist()
    )


def _versions() -> dict[str, str]:
    versions = {"hemai": hemai.__version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def read_validation(config: DictConfig, model: CellClassifier, data: CellDataModule) -> Predictions | None:
    """Read the predictions of `threshold.validation`, on which threshold and temperature are chosen; None without.

    Raises:
        UserError: A file that is no such predictions, or holds test images.
    """
    if config.threshold.validation is None:
        return None
    file = Path(config.threshold.validation)
    predictions = read_predictions(file, model.classes, model.positive)
    tested = data.table["path"][data.table["split"].isin(data.test_names())]
    if tested_too := sorted(set(predictions.table["path"]) & set(tested)):
        raise UserError(
            f"threshold.validation={file}: {len(tested_too):,} of its images are test images "
            f"({shorten(tested_too, most=3)}); a threshold must be chosen on others"
        )
    return replace(predictions, group_kind=data.dataset.group_kind)
