"""Parts of a network that do not move in training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hemai.errors import UserError
from hemai.ranges import check_whole


class FreezeBackbone(Callback):
    """Train the classifier alone at first, and keep the statistics of BatchNorm if wanted.

    It has no state: what is frozen follows from the epoch, so a resumed run goes on alike.

    Args:
        epochs: In which all but the classifier is frozen; 0: nothing.
        freeze_statistics: BatchNorm keeps the statistics that it started with, in all epochs.
    """

    def __init__(self, epochs: int, freeze_statistics: bool) -> None:
        self.epochs, self.freeze_statistics = epochs, freeze_statistics
        self._frozen: list[nn.Parameter] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the parameters."""
        if self.epochs:
            self._frozen = backbone_parameters(pl_module.backbone)  # type: ignore[arg-type]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Freeze or release."""
        is_frozen = trainer.current_epoch < self.epochs
        for parameter in self._frozen:
            # Several devices agreed at the start on the gradients that they average: those are dropped below.
            parameter.requires_grad_(not is_frozen or trainer.world_size > 1)
        if self._frozen or self.freeze_statistics:
            freeze_batchnorm(pl_module.backbone, is_frozen or self.freeze_statistics)  # type: ignore[arg-type]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop gradients of frozen parameters."""
        if trainer.current_epoch < self.epochs:
            for parameter in self._frozen:
                parameter.grad = None


def check_freezing(network: nn.Module, freeze: str | None, epochs: int) -> None:
    """Refuse a part that is not known, or a network that does not tell its classifier.

    Raises:
        UserError: With what was expected.
    """
    check_whole("model.freeze_epochs", epochs, 0)
    if freeze not in (None, "backbone"):
        raise UserError(f"model.freeze={freeze}: expected backbone, or null for nothing")
    if freeze:
        backbone_parameters(network)


def backbone_parameters(network: nn.Module) -> list[nn.Parameter]:
    """All parameters of a network of timm but those of its classifier.

    Raises:
        UserError: The network does not tell its classifier.
    """
    if not hasattr(network, "get_classifier"):
        raise UserError(f"model.freeze=backbone: {network.__class__.__name__} does not tell its classifier")
    heads: Any = network.get_classifier()  # type: ignore[operator]
    heads = heads if isinstance(heads, tuple) else (heads,)  # some networks have two
    of_head = {id(parameter) for head in heads for parameter in head.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in of_head]


def freeze_batchnorm(network: nn.Module, frozen: bool) -> None:
    """Let BatchNorm use its running statistics and leave them alone, or let it use those of each batch again."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not frozen)
