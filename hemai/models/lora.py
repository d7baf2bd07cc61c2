"""Low-rank adapters of attention (LoRA), as parametrizations of torch.

The library peft would bring transformers and accelerate along, and rename the tensors of a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from hemai.models.optimization import backbone_parameters
from hemai.utils.errors import UserError, check_number, check_whole, did_you_mean

KEYS = ("name", "rank", "alpha")
RANK = 8  # where the settings name none


class LowRank(nn.Module):
    """Add `alpha / rank * up @ down` to a weight; `up` starts at 0, so that the network starts unchanged.

    Source: Hu et al., LoRA, ICLR 2022, arXiv:2106.09685. Differs: timm keeps queries, keys and values in one weight,
    so that all three are adapted, with `down` in common.

    Args:
        weight: Weight of a linear layer, (outputs, inputs).
        rank: Number of rows of `down` and of columns of `up`.
        alpha: Numerator of the scale.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.tensor(alpha / rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as of a linear layer

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Adapted weight, (outputs, inputs)."""
        return weight + self.scale * (self.up @ self.down)


def add_adapter(network: nn.Module, settings: Mapping[str, Any] | None) -> None:
    """Add adapters to every attention of a network, in place, and freeze all else but its classifier.

    Args:
        network: Vision transformer of timm: its attention has linear layers `qkv`.
        settings: `name` (lora), `rank` (8), and `alpha` (None: the rank, a scale of 1); None: no adapters.

    Raises:
        UserError: A wrong setting, a network without `qkv`, or without `get_classifier`.
    """
    if settings is None:
        return
    if not isinstance(settings, Mapping) or settings.get("name") != "lora":
        raise UserError(f"model.adapter={settings}: expected {{name: lora, rank: 8}}, or null for none")
    if unknown := [str(key) for key in settings if key not in KEYS]:
        hint = did_you_mean(unknown[0], KEYS)
        raise UserError(f"model.adapter.{unknown[0]} is unknown{hint} (expected {', '.join(KEYS)})")
    layers = {name: layer for name, layer in network.named_modules() if _is_attention(name, layer)}
    if not layers or not hasattr(network, "get_classifier"):
        kind = type(network).__name__
        raise UserError(
            f"model.adapter: {kind} has no attention with a linear layer qkv, or no get_classifier(); expected a "
            "vision transformer of timm, such as vit_small_patch14_dinov2, or model.adapter=null"
        )
    rank = settings.get("rank", RANK)
    alpha = rank if settings.get("alpha") is None else settings["alpha"]
    check_whole("model.adapter.rank", rank, 1)
    if rank > (most := min(min(layer.weight.shape) for layer in layers.values())):
        raise UserError(f"model.adapter.rank={rank}: expected at most {most}, the width of the network's attention")
    check_number("model.adapter.alpha", alpha, 0)
    if alpha == 0:
        raise UserError("model.adapter.alpha=0: the adapters would have no effect; expected a number above 0")
    for parameter in backbone_parameters(network):
        parameter.requires_grad_(False)
    for layer in layers.values():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha))


def _is_attention(name: str, layer: nn.Module) -> bool:
    return name.rpartition(".")[2] == "qkv" and isinstance(layer, nn.Linear)


def merge_adapters(network: nn.Module) -> nn.Module:
    """Add the adapters of a network to its weights, in place: a plain network of timm with the same outputs."""
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network
