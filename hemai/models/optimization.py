"""How weights move: optimizer, learning-rate schedules, frozen layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import timm.optim
import timm.scheduler
import torch
from pytorch_lightning.callbacks import Callback
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hemai.utils.errors import UserError, check_finite, check_whole, did_you_mean

SCHEDULES = ("constant", "cosine", "multistep", "poly", "rsqrt", "step", "tanh", "wsd")


def create_optimizer(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """`timm.optim.create_optimizer_v2`, with errors that tell what to do.

    Args:
        network: Whose parameters are trained.
        settings: `opt` (a name of `timm.optim.list_optimizers()`), `lr`, `weight_decay`, `layer_decay`
            (each layer learns so many times as fast as the one above it), ...

    Raises:
        UserError: Unknown name, or an argument that the optimizer lacks or refuses.
    """
    check_finite("model.optimizer", settings)
    for name in ("lr", "weight_decay", "layer_decay", "momentum", "eps"):  # timm passes some on without a look
        check_finite(f"model.optimizer.{name}", settings.get(name), low=0)
    known = [str(name) for name in timm.optim.list_optimizers()]
    if settings["opt"] not in known:
        raise UserError(f"model.optimizer.opt={settings['opt']} is unknown{did_you_mean(settings['opt'], known)}")
    try:
        optimizer = timm.optim.create_optimizer_v2(network, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer={dict(settings)}: {error}") from error
    for group in optimizer.param_groups:
        # timm leaves the rates of layers to its schedules; a plateau or no schedule at all knows nothing of them.
        group["lr"] *= group.pop("lr_scale", 1.0)
    return optimizer


def create_plateau(optimizer: torch.optim.Optimizer, settings: Mapping[str, Any] | None) -> ReduceLROnPlateau | None:
    """The plateau schedule, or None without settings.

    Raises:
        UserError: An argument that it lacks or refuses.
    """
    check_finite("model.plateau", settings, low=0)
    try:
        return ReduceLROnPlateau(optimizer, **settings) if settings else None
    except (TypeError, ValueError) as error:
        raise UserError(f"model.plateau={dict(settings or {})}: {error}") from error


def check_optimization(
    network: nn.Module,
    optimizer: Mapping[str, Any],
    plateau: Mapping[str, Any] | None,
    schedule: Mapping[str, Any] | None,
) -> None:
    """Find wrong settings before anything is trained or written, by making what they say once.

    Raises:
        UserError: See the functions of this file; also a plateau and a schedule together.
    """
    made = create_optimizer(network, optimizer)
    create_plateau(made, plateau)
    create_schedule(made, schedule, 100, 100)
    if plateau and schedule:
        raise UserError("model.plateau and model.schedule both set the learning rate; set one of them to null")


def create_schedule(
    optimizer: torch.optim.Optimizer, settings: Mapping[str, Any] | None, epochs: int, steps_per_epoch: int
) -> Scheduler | None:
    """A schedule by step, or None without settings: the rate is a function of the step alone.

    Args:
        optimizer: Whose rates it sets, in `step_update(step)`.
        settings: Arguments of `timm.scheduler.create_scheduler_v2`, in epochs: `sched` (one of
            `SCHEDULES`), `warmup_epochs`, `min_lr`, `decay_rate`, ...; and `decay_steps`, the steps
            between two decays of `step`.
        epochs: Of the training.
        steps_per_epoch: Optimizer steps in an epoch.

    Raises:
        UserError: Unknown schedule, or an argument that it lacks or refuses.
    """
    if not settings:
        return None
    check_finite("model.schedule", settings, low=0)
    others = dict(settings)
    name, decay_steps = others.pop("sched", None), others.pop("decay_steps", None)
    if name not in SCHEDULES:
        raise UserError(f"model.schedule.sched={name}{did_you_mean(str(name), SCHEDULES)} ({', '.join(SCHEDULES)})")
    if decay_steps is not None and (name != "step" or decay_steps < 1):
        raise UserError(f"model.schedule.decay_steps={decay_steps}: expected 1 or more, with sched=step")
    try:
        schedule, _ = timm.scheduler.create_scheduler_v2(
            optimizer, name, epochs, step_on_epochs=False, updates_per_epoch=steps_per_epoch, **others
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"model.schedule={dict(settings)}: {error}") from error
    assert schedule is not None
    if decay_steps is not None:
        schedule.decay_t = decay_steps
    return schedule


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
