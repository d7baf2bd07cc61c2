"""The last feature map of a network: where it still knows what lies where in the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hemai.utils.errors import UserError


@dataclass(frozen=True)
class FeatureMap:
    """The layer that holds the last feature map of a network.

    Attributes:
        layer: Module of the network.
        is_input: Whether the map is the input of the layer, not its output.
        to_grid: Reshapes the map to (B, channels, rows, columns).
    """

    layer: nn.Module
    is_input: bool
    to_grid: Callable[[torch.Tensor], torch.Tensor]


def find_feature_map(network: nn.Module, image: torch.Tensor) -> FeatureMap:
    """Find the last feature map of any network.

    Of a vision transformer of timm it is the input of the last block: after it a class token may have taken all there
    is from the other tokens. Of other networks it is the last output with several rows and columns.

    Args:
        network: Network in eval mode.
        image: Scaled image, float (1, 3, height, width).

    Raises:
        UserError: The network has no feature map.
    """
    blocks: Any = getattr(network, "blocks", None)
    embedding: Any = getattr(network, "patch_embed", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList) and hasattr(embedding, "dynamic_feat_size"):
        rows, columns = embedding.dynamic_feat_size(tuple(image.shape[2:]))

        def to_grid(tokens: torch.Tensor) -> torch.Tensor:
            patches = tokens[:, -rows * columns :]  # class and register tokens come first
            return patches.transpose(1, 2).unflatten(2, (rows, columns))

        return FeatureMap(blocks[-1], True, to_grid)
    if (layer := _last_with_rows_and_columns(network, image)) is None:
        raise UserError(
            f"{type(network).__name__} has no feature map, which layer_cam needs; use --method integrated_gradients"
        )
    if getattr(network, "output_fmt", "NCHW") == "NHWC":  # such as Swin of timm
        return FeatureMap(layer, False, lambda features: features.permute(0, 3, 1, 2))
    return FeatureMap(layer, False, lambda features: features)


def _last_with_rows_and_columns(network: nn.Module, image: torch.Tensor) -> nn.Module | None:
    """The module that is the last to return a feature map larger than 1 x 1."""
    found: list[nn.Module] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == 1 and min(output.shape[1:]) > 1:
            found.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules() if module is not network]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None
