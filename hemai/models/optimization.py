"""Optimizer, learning-rate schedules and frozen layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import timm.optim
import timm.scheduler
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hemai.utils.errors import UserError, check_finite, check_whole, did_you_mean

FUSED_ON = ("cpu", "cuda")  # where torch updates all weights of an optimizer in one call
SCHEDULES = ("constant", "cosine", "multistep", "poly", "rsqrt", "step", "tanh", "wsd")


def create_optimizer(
    network: nn.Module, settings: Mapping[str, Any], allow_fused: bool = True
) -> torch.optim.Optimizer:
    """Create an optimizer with `timm.optim.create_optimizer_v2`; errors say what to do.

    Args:
        network: Network whose parameters are trained.
        settings: `opt` (a name of `timm.optim.list_optimizers()`), `lr`, `weight_decay`, `layer_decay`
            (learning rate of a layer, relative to the one above it), `fused`, ...
        allow_fused: Whether to use the fused kernels of torch where there are any and `settings` does not say.

    Raises:
        UserError: Unknown name, or an argument that the optimizer lacks or rejects.
    """
    check_finite("model.optimizer", settings)
    for name in ("lr", "weight_decay", "layer_decay", "momentum", "eps"):  # timm does not check all of them
        check_finite(f"model.optimizer.{name}", settings.get(name), low=0)
    known = [str(name) for name in timm.optim.list_optimizers()]
    if settings["opt"] not in known:
        raise UserError(f"model.optimizer.opt={settings['opt']} is unknown{did_you_mean(settings['opt'], known)}")
    if (
        allow_fused
        and not {"foreach", "differentiable"} & settings.keys()
        and _has_fused_kernels(settings["opt"], network)
    ):
        settings = {"fused": True, **settings}
    try:
        optimizer = timm.optim.create_optimizer_v2(network, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"model.optimizer={dict(settings)}: {error}") from error
    for group in optimizer.param_groups:
        # timm applies layer rates only in its schedules; a plateau or a constant rate would ignore them.
        group["lr"] *= group.pop("lr_scale", 1.0)
    return optimizer


def create_trainer_optimizer(
    trainer: pl.Trainer, network: nn.Module, settings: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Create an optimizer that a Trainer can step; see `create_optimizer`."""
    # In 16-mixed a fused optimizer divides gradients by their scale itself: then they cannot be clipped before.
    return create_optimizer(network, settings, allow_fused=trainer.precision != "16-mixed")


def _has_fused_kernels(name: str, network: nn.Module) -> bool:
    accepts = "fused" in inspect.signature(timm.optim.get_optimizer_class(name, bind_defaults=False)).parameters
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return accepts and all(p.device.type in FUSED_ON and p.is_floating_point() for p in parameters)


def create_plateau(optimizer: torch.optim.Optimizer, settings: Mapping[str, Any] | None) -> ReduceLROnPlateau | None:
    """Create the plateau schedule; None without settings.

    Raises:
        UserError: An argument that it lacks or rejects.
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
    """Check the settings before anything is trained or written, by creating each object once.

    Raises:
        UserError: See the functions of this file; also a plateau and a schedule together.
    """
    trial = create_optimizer(network, optimizer)
    create_plateau(trial, plateau)
    create_schedule(trial, schedule, 100, 100)
    if plateau and schedule:
        raise UserError("model.plateau and model.schedule both set the learning rate; set one of them to null")


def create_schedule(
    optimizer: torch.optim.Optimizer, settings: Mapping[str, Any] | None, epochs: int, steps_per_epoch: int
) -> Scheduler | None:
    """Create a schedule whose rate depends on the step alone; None without settings.

    Args:
        optimizer: Optimizer whose rates `step_update(step)` sets.
        settings: Arguments of `timm.scheduler.create_scheduler_v2`, in epochs: `sched` (one of
            `SCHEDULES`), `warmup_epochs`, `min_lr`, `decay_rate`, ...; and `decay_steps`, the steps
            between two decays of `step`.
        epochs: Number of epochs of the training.
        steps_per_epoch: Number of optimizer steps in an epoch.

    Raises:
        UserError: Unknown schedule, or an argument that it lacks or rejects.
    """
    if not settings:
        return None
    check_finite("model.schedule", settings, low=0)
    others = dict(settings)
    name, decay_steps = others.pop("sched", None), others.pop("decay_steps", None)
    if name not in SCHEDULES:
        hint = did_you_mean(str(name), SCHEDULES)
        raise UserError(f"model.schedule.sched={name}{hint} (expected {', '.join(SCHEDULES)})")
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


def create_trainer_schedule(trainer: pl.Trainer, settings: Mapping[str, Any] | None) -> Scheduler | None:
    """Create a schedule for the optimizer of a Trainer and the length of its training; see `create_schedule`.

    Raises:
        UserError: See `create_schedule`; also a training without an end.
    """
    steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
    epochs = trainer.estimated_stepping_batches / max(1, steps)
    if settings and epochs == float("inf"):
        raise UserError("model.schedule needs the length of training; set trainer.max_epochs or max_steps")
    return create_schedule(trainer.optimizers[0], settings, max(1, math.ceil(min(epochs, 1e9))), steps)


def create_callbacks(hparams: Mapping[str, Any]) -> list[Callback]:
    """Callbacks that freeze layers and average weights, as the hyperparameters of a classifier say."""
    freeze, decay = hparams["freeze"], hparams["average_weights"]
    epochs, statistics = hparams["freeze_epochs"] if freeze else 0, hparams["freeze_statistics"]
    return [
        *([FreezeBackbone(epochs, statistics)] if epochs or statistics else []),
        *([EMAWeightAveraging(decay=decay)] if decay is not None else []),
    ]


class FreezeBackbone(Callback):
    """Train only the classifier in the first epochs and, if wanted, keep the statistics of BatchNorm.

    It has no state: what is frozen follows from the epoch, so a resumed run continues unchanged.

    Args:
        epochs: Number of first epochs in which all but the classifier is frozen; 0: none.
        freeze_statistics: Keep the initial running statistics of BatchNorm, in all epochs.
    """

    def __init__(self, epochs: int, freeze_statistics: bool) -> None:
        self.epochs, self.freeze_statistics = epochs, freeze_statistics
        self._frozen: list[nn.Parameter] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the parameters to freeze."""
        if self.epochs:
            backbone: Any = pl_module.backbone
            # What an adapter has frozen for good stays frozen.
            self._frozen = [parameter for parameter in backbone_parameters(backbone) if parameter.requires_grad]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Freeze or unfreeze, depending on the epoch."""
        is_frozen = trainer.current_epoch < self.epochs
        for parameter in self._frozen:
            # Several devices fix at the start which gradients they average: those are dropped below.
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
    """Raise an error for an unknown part to freeze, or a network without `get_classifier`.

    Raises:
        UserError: An invalid setting.
    """
    check_whole("model.freeze_epochs", epochs, 0)
    if freeze not in (None, "backbone"):
        raise UserError(f"model.freeze={freeze}: expected backbone, or null for nothing")
    if freeze:
        backbone_parameters(network)


def backbone_parameters(network: nn.Module) -> list[nn.Parameter]:
    """All parameters of a network except those of its classifier.

    Raises:
        UserError: The network has no method `get_classifier`.
    """
    if not hasattr(network, "get_classifier"):
        name = network.__class__.__name__
        raise UserError(f"model.freeze=backbone: {name} has no get_classifier(); add it or set model.freeze=null")
    heads: Any = network.get_classifier()  # type: ignore[operator]
    heads = heads if isinstance(heads, tuple) else (heads,)  # some networks have two
    head_ids = {id(parameter) for head in heads for parameter in head.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in head_ids]


def freeze_batchnorm(network: nn.Module, frozen: bool) -> None:
    """Make BatchNorm use its running statistics without updating them or, not frozen, those of each batch."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not frozen)
