"""Objects from a configuration."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

import hemai
from hemai.classifier import CellClassifier
from hemai.data import CellDataModule
from hemai.errors import UserError
from hemai.models.class_weights import balanced_class_weights
from hemai.overrides import literal
from hemai.transforms import Recipe

PACKAGES = ("torch", "timm", "pytorch-lightning", "torchmetrics", "albumentations", "opencv-python-headless", "numpy")


def build_data(config: DictConfig, transform: Recipe | None = None) -> CellDataModule:
    """The data set of a configuration; `setup` then checks, caches and splits it.

    Args:
        config: Of `configs/train.yaml`.
        transform: Instead of its own.

    Raises:
        UserError: See `hemai.data.CellDataModule`; also a data set that is not there.
    """
    return build(config.data, transform=transform or build(config.transform))


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
    weights = config.model.class_weights
    model: CellClassifier = build(
        config.model,
        class_weights=balanced_class_weights(data.class_counts()) if weights == "balanced" else weights,
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


def build_group(config: DictConfig | None) -> list[Any]:
    """Every object of a group that maps names to arguments, such as `callbacks`.

    Raises:
        UserError: See `build`.
    """
    for name, settings in (config or {}).items():
        if not isinstance(settings, DictConfig) or "_target_" not in settings:
            raise UserError(f"{name!s}={settings}: expected a mapping with _target_, such as the class of a callback")
    return [build(settings) for settings in (config or {}).values()]


def build(config: DictConfig, **arguments: Any) -> Any:
    """Call the `_target_` of a configuration.

    Raises:
        UserError: Also for a misspelt argument of albumentations and a value that is refused;
            Hydra would wrap them all.
    """
    try:
        return instantiate(_evaluated(config), **literal(literal(arguments)), _convert_="all")
    except InstantiationException as error:
        causes = _causes(error)
        for kind in (UserError, ValidationError, Warning, TypeError, ValueError, ImportError, OSError):
            for cause in causes:
                if isinstance(cause, kind):
                    raise cause if kind is UserError else UserError(_told(cause, _key(error, config))) from error
        raise


def _evaluated(config: DictConfig) -> DictConfig:
    """The same with its values in place of interpolations.

    Hydra evaluates twice on the way to the call: a path that holds `${` would be an interpolation after all.
    """
    made: DictConfig = OmegaConf.create(literal(literal(OmegaConf.to_container(config, resolve=True))))
    made._set_parent(config._get_parent())  # for the full key in errors
    made._set_key(config._key())
    return made


def _causes(error: BaseException | None) -> list[BaseException]:
    """An error and those that led to it."""
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]


def _key(error: InstantiationException, config: DictConfig) -> str:
    """The key of the setting that could not be built; Hydra tells it at the end of its text."""
    told = re.search(r"full_key: (\S+)\s*$", str(error))
    return told[1] if told else str(config._get_full_key(None))


def _told(cause: BaseException, key: str) -> str:
    if not isinstance(cause, ValidationError):
        return f"{key}: {cause}"
    # pydantic names the argument and the kind of value that it tried: one line is enough for each argument.
    wrong: dict[str, tuple[Any, list[str]]] = {}
    for problem in cause.errors():
        argument = str(problem["loc"][0]) if problem["loc"] else ""
        wrong.setdefault(argument, (problem["input"], []))[1].append(problem["msg"])
    return "; ".join(
        f"{key}.{argument}{'' if isinstance(value, dict) else f'={value}'}: {', or '.join(messages)}"
        for argument, (value, messages) in wrong.items()
    )
