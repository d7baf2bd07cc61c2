"""Networks of timm, with explicit normalization of the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

import timm
import torch
from torch import nn

import hemai.models  # noqa: F401  registers its networks with timm
from hemai.models.source import offline_if_hub_unreachable
from hemai.utils.errors import UserError, check_finite, check_fraction, check_number, did_you_mean


class Normalize(nn.Module):
    """Normalize RGB pixels, 0..255, as the network expects: (pixel / 255 - mean) / sd.

    Args:
        mean, sd: One number for each channel, in units of 0..1.
    """

    def __init__(self, mean: Sequence[float], sd: Sequence[float]) -> None:
        super().__init__()
        for value in (*mean, *sd):
            check_number("model.mean and model.sd", value)
        if not len(mean) == len(sd) == 3 or min(sd) <= 0:
            raise UserError(f"model.mean={list(mean)}, model.sd={list(sd)}: expected three numbers each, sd above 0")
        self.mean: torch.Tensor
        self.sd: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("sd", torch.tensor(sd).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalized images, float, (B, 3, height, width)."""
        return (image.float() - self.mean) / self.sd


def expected_normalization(
    network: nn.Module, mean: Sequence[float] | None = None, sd: Sequence[float] | None = None
) -> tuple[list[float], list[float]]:
    """Mean and sd of the pixels (0..1) that a network expects, for `Normalize`.

    Args:
        network: Network of timm, whose `pretrained_cfg` states how its published weights were trained,
            or of `hemai.models`.
        mean: Mean set by the user; None: as published, or 0.5 if nothing was published.
        sd: Standard deviation, likewise.
    """
    published = getattr(network, "pretrained_cfg", {})
    mean = published.get("mean", (0.5, 0.5, 0.5)) if mean is None else mean
    sd = published.get("std", (0.5, 0.5, 0.5)) if sd is None else sd
    return list(mean), list(sd)


def create_network(name: str, classes: int, pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    """Create a network of timm or of the user's own package; errors say what to do.

    Args:
        name: A name of `timm.list_models()`, also with the tag of its weights (`resnet18.a1_in1k`); or the dotted name
            of a function or class, such as `my_package.networks.tiny_net`.
        classes: Number of outputs; the argument `num_classes`.
        pretrained: Start from the weights that timm downloads.
        options: Further arguments of the network.

    Raises:
        UserError: Unknown name, an option that the network lacks, or weights that cannot be downloaded.
    """
    check_finite("model.options", options)
    check_fraction("model.options.drop_rate", options.get("drop_rate", 0))
    if not is_of_timm(name):
        return _create_own(name, classes, pretrained, options)
    refused = (TypeError, ValueError, RuntimeError, AssertionError, OSError)
    try:
        with offline_if_hub_unreachable(pretrained):
            return timm.create_model(name, pretrained=pretrained, num_classes=classes, **options)
    except Exception as error:
        if not pretrained and not isinstance(error, refused):  # the hub's client has errors of its own
            raise
        hint = "; model.options holds further arguments of the network, null for none" * isinstance(error, TypeError)
        hint += "; set model.pretrained=false, or start from a file by model.weights=FILE" * pretrained
        setting = f"model.backbone={name}" + ", model.pretrained=true" * pretrained
        raise UserError(f"{setting}: {str(error).rstrip('.')}{hint}") from error


def with_image_size(name: str, options: Mapping[str, Any], image_size: int | None) -> dict[str, Any]:
    """Options of a network, with `img_size` where timm makes it for one size and the options leave the size open.

    Position embeddings are made for one size, convolutions for any.

    Args:
        name: Name of the network.
        options: Its further arguments.
        image_size: Height and width of the input in pixels; None: the published size.
    """
    published = timm.get_pretrained_cfg(name.split(".")[0]) if is_of_timm(name) else None  # the same for every tag
    is_open = not {"img_size", "dynamic_img_size", "strict_img_size", "use_naflex"} & options.keys()
    sized = {"img_size": image_size} if image_size and is_open and published and published.fixed_input_size else {}
    return {**options, **sized}


def is_of_timm(name: str) -> bool:
    """Whether a backbone is a name of timm or of `hemai.models`, which may end with a tag: `resnet18.a1_in1k`."""
    return name.split(".")[0] in timm.list_models()


def _create_own(name: str, classes: int, pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    if "." not in name:
        raise UserError(
            f"model.backbone={name}: unknown timm model{did_you_mean(name, timm.list_models())}; "
            "your own network needs a dotted name, such as my_package.networks.tiny_net"
        )
    if pretrained:
        raise UserError(f"model.pretrained=true: timm has no weights of {name}; set it to false, or model.weights=FILE")
    try:
        create = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"model.backbone={name}: {error}; expected a name of timm, or package.module.name of an installed package"
        ) from error
    try:
        network = create(num_classes=classes, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"model.backbone={name}(num_classes={classes}, **model.options): {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"model.backbone={name} returns {type(network).__name__}, expected a torch.nn.Module")
    return network


def flips_and_rotations(image: torch.Tensor) -> list[torch.Tensor]:
    """The eight flips and 90-degree rotations of an image, first the image itself.

    Args:
        image: Any type, shape (..., height, width).
    """
    return [torch.rot90(side, quarters, (-2, -1)) for side in (image, image.flip(-1)) for quarters in range(4)]
