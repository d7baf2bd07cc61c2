"""The last feature map of a network: where it still knows what lies where in the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hemai.utils.errors import UserError


@dataclass(frozen=True)
class FeatureMap:
    """The layer that holds the last feature map of a network.

    Attributes:
        layer: Module of the network.
        is_input: Whether the map is the input of the layer, not its output.
        to_grid: Reshapes the map to (B, channels, rows, columns).
        grid_px: Distance of the map from the left and the top of the image, and of its units, in pixels; None: it
            covers the image, as after convolutions with padding.
    """

    layer: nn.Module
    is_input: bool
    to_grid: Callable[[torch.Tensor], torch.Tensor]
    grid_px: tuple[int, int] | None = None

    @contextmanager
    def record(self) -> Iterator[list[torch.Tensor]]:
        """Yield a list that gets the map of every pass through the network."""
        maps: list[torch.Tensor] = []
        if self.is_input:
            hook = self.layer.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
        else:
            hook = self.layer.register_forward_hook(lambda _, inputs, output: maps.append(output))
        try:
            yield maps
        finally:
            hook.remove()

    def enlarge(self, grid: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Enlarge a map, (B, rows, columns), to the image by bilinear interpolation; its edges fill what is outside."""
        rows, columns = grid.shape[1:]
        start, step = self.grid_px or (0, 0)
        size = (rows * step, columns * step) if self.grid_px else (height, width)
        inside = F.interpolate(grid[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        margins = (start, width - start - size[1], start, height - start - size[0])
        return F.pad(inside[:, None], margins, mode="replicate")[:, 0]


def find_feature_map(network: nn.Module, image: torch.Tensor) -> FeatureMap:
    """Find the last feature map of any network.

    Of a vision transformer of timm it is the input of the last block; where a class token decides, it is what its
    attention reads, the output of the first LayerNorm. (Products of the input of a LayerNorm and its gradient sum to 0,
    and after the last block the other tokens decide nothing.) Of other networks it is the last output with several rows
    and columns.

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

        last: Any = blocks[-1]
        if getattr(network, "global_pool", "") == "token" and hasattr(last, "norm1"):
            return FeatureMap(last.norm1, False, to_grid)
        return FeatureMap(last, True, to_grid)
    layer = _last_with_rows_and_columns(network, image)
    is_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # such as Swin of timm
    grid_px = getattr(network, "feature_grid_px", None)
    return FeatureMap(layer, False, lambda maps: maps.permute(0, 3, 1, 2) if is_last else maps, grid_px)


def _last_with_rows_and_columns(network: nn.Module, image: torch.Tensor) -> nn.Module:
    """The last module to return a feature map larger than 1 x 1, of those that are called once."""
    found: list[nn.Module] = []
    calls: Counter[nn.Module] = Counter()

    def note(module: nn.Module, _: object, output: object) -> None:
        calls[module] += 1
        if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == 1 and min(output.shape[1:]) > 1:
            found.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules() if module is not network]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not (once := [module for module in found if calls[module] == 1]):
        raise UserError(f"{type(network).__name__} has no feature map, which hires_cam needs; use integrated_gradients")
    return once[-1]
