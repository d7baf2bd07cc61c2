"""How the weights of a network move: optimizer and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm.optim
import timm.scheduler
import torch
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hemai.errors import UserError, nearest
from hemai.ranges import check_finite

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
        raise UserError(f"model.optimizer.opt={settings['opt']} is unknown{nearest(settings['opt'], known)}")
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
        raise UserError(f"model.schedule.sched={name}{nearest(str(name), SCHEDULES)} ({', '.join(SCHEDULES)})")
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
