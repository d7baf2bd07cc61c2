"""Objects from a configuration."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

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
    versions = {"hemai": hemai.__version__} | {package: version(package) for package in PACKAGES}
    return build(
        config.model,
        classes=list(data.dataset.classes),
        positive=list(data.dataset.positive),
        facts={**data.facts(), "versions": versions},
    )


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
            if isinstance(cause, (Warning, ValueError, ImportError)):
                raise UserError(f"{config._get_full_key(None)}: {cause}") from error
            cause = cause.__cause__
        raise
