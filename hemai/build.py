"""Objects from a configuration."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

import hemai
from hemai.classifier import CellClassifier
from hemai.data import CellDataModule
from hemai.errors import UserError

PACKAGES = ("torch", "timm", "pytorch-lightning", "torchmetrics", "albumentations", "opencv-python-headless", "numpy")


def build_data(config: DictConfig) -> CellDataModule:
    """The data set of a configuration; `setup` then checks, caches and splits it.

    Raises:
        UserError: See `hemai.data.CellDataModule`.
    """
    return build(config.data, transform=build(config.transform))


def build_model(config: DictConfig, data: CellDataModule) -> CellClassifier:
    """The classifier of a configuration for the classes of a data set that is set up.

    Raises:
        UserError: See `hemai.classifier.CellClassifier`.
    """
    try:
        example = data.images("train", augmented=True)[[(0, 0)]]["image"]
    except ValueError as error:
        raise UserError(f"transform.augment: {error}; expected transforms that keep uint8 and the size") from error
    versions = {"hemai": hemai.__version__} | {package: version(package) for package in PACKAGES}
    model: CellClassifier = build(
        config.model,
        classes=list(data.dataset.classes),
        positive=list(data.dataset.positive),
        facts={**data.facts(), "versions": versions},
    )
    try:
        with torch.no_grad():
            model.eval()(example)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"model.backbone={config.model.backbone} cannot take the prepared images of {tuple(example.shape[2:])} px "
            f"({error}); end transform.prepare with a Resize to model.image_size={config.model.image_size}"
        ) from error
    return model.train()


def build(config: DictConfig, **arguments: Any) -> Any:
    """Call the `_target_` of a configuration.

    Raises:
        UserError: Also for a misspelt argument of albumentations and a value that is refused;
            Hydra would wrap them all.
    """
    try:
        return instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from None
            if isinstance(cause, (Warning, TypeError, ValueError, ImportError, OSError)):
                raise UserError(f"{config._get_full_key(None)}: {cause}") from error
            cause = cause.__cause__
        raise
