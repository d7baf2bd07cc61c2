"""What does not move in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hemai.errors import UserError


def backbone_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters of a network of timm but those of its classifier.

    Raises:
        UserError: The network does not tell its classifier.
    """
    if not hasattr(network, "get_classifier"):
        raise UserError(f"model.freeze=backbone: {network.__class__.__name__} does not tell its classifier")
    heads: Any = network.get_classifier()  # type: ignore[operator]
    heads = heads if isinstance(heads, tuple) else (heads,)  # some networks have two
    of_head = {id(parameter) for head in heads for parameter in head.parameters()}
    return (parameter for parameter in network.parameters() if id(parameter) not in of_head)


def keep_statistics(network: nn.Module, kept: bool) -> None:
    """Let BatchNorm use its running statistics and leave them alone, or let it use those of each batch again."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not kept)
