"""Checks of a classifier's classes, and of the data that a Trainer gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hemai.data.dataset import CellDataset
from hemai.utils.errors import UserError, did_you_mean, shorten


def check_classes(classes: Any, positive: Any) -> None:
    """Refuse class names that are no list of two different names or more, and unknown malignant classes.

    Raises:
        UserError: The message names the classes and what is expected.
    """
    for name, value in (("classes", classes), ("positive", positive)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{name}={value!r}: expected a list of class names, such as data.dataset.{name}")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise UserError(f"classes={list(classes)}: expected two different class names or more")
    for label in positive:
        if label not in classes:
            raise UserError(
                f"positive: unknown class '{label}'{did_you_mean(str(label), map(str, classes))} "
                f"(expected some of {shorten(classes)})"
            )


def check_data(network: nn.Module, hparams: Any, data: Any) -> None:
    """Refuse a data module with other classes than the classifier, or with images that its network cannot take.

    Args:
        network: The classifier.
        hparams: Its hyperparameters.
        data: `CellDataModule` that is set up; a data module of another kind, or None, is not checked.

    Raises:
        UserError: The message names the classes, or the size of the images.
    """
    if not isinstance(getattr(data, "dataset", None), CellDataset):
        return
    found, expected = tuple(hparams["classes"]), tuple(data.dataset.classes)
    if found != expected:
        raise UserError(
            f"the classifier has the classes {shorten(found)}, the data {shorten(expected)}, in this order; "
            "create it with classes=data.dataset.classes, positive=data.dataset.positive"
        )
    height, width = data.cache.images.shape[1:3]
    modes = [(module, module.training) for module in network.modules()]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, height, width, dtype=torch.uint8, device=device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"model.backbone={hparams['backbone']} cannot take the prepared images of {width} x {height} px "
            f"({error}); end transform.prepare with a Resize to model.image_size={hparams['image_size']}"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
