"""Build and validate the Trainer of a run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from lightning_fabric.plugins.environments import ClusterEnvironment
from lightning_fabric.utilities.types import _PATH
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from pytorch_lightning.callbacks import Callback, ModelSummary, ProgressBar, RichModelSummary, RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import CheckpointIO, TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from hemai.evaluation.metrics import compute_metrics
from hemai.runs.processes import cluster_environment
from hemai.settings.instantiate import build
from hemai.utils.errors import UserError, check_finite, check_number, check_whole, did_you_mean
from hemai.utils.files import replace_file

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically: to a file beside the path, which then replaces the old checkpoint.

    If the run is killed or the disk fills up during a write, the last checkpoint stays intact.
    (Lightning 2.6 writes to the system's temporary folder and copies from there.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            UserError: The disk is full.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            free = shutil.disk_usage(path.parent).free
            if isinstance(error, RuntimeError) and free > 1e9:
                raise
            kept = "the last checkpoint is intact" if path.exists() else "no checkpoint was saved yet"
            raise UserError(
                f"cannot write {path} ({free / 1e6:.1f} MB free); {kept}. Free space, then "
                + (f"continue with resume={path.parent.parent}" if path.exists() else "start the run again")
            ) from error


def build_trainer(
    config: DictConfig, callbacks: Sequence[Callback], loggers: Sequence[Logger], folder: Path
) -> pl.Trainer:
    """Build the Trainer of a configuration, with the callbacks, loggers and checkpoint writer of hemai.

    Args:
        config: Arguments of `pytorch_lightning.Trainer`. Its `callbacks` and `plugins` are added to ours; its `logger`,
            `default_root_dir`, `enable_progress_bar` and `enable_model_summary` replace ours.
        callbacks: Callbacks to add.
        loggers: Loggers to use if `config` names none.
        folder: Run folder.

    Raises:
        UserError: A setting out of range, or one that the hardware does not support.
    """
    _check_ranges(config)
    given: dict[str, Any] = {
        str(key): build(value) if OmegaConf.is_config(value) else value for key, value in config.items()
    }
    for key in ("callbacks", "plugins"):
        if not isinstance(given.get(key), list | None):
            raise UserError(f"trainer.{key}={given[key]}: expected a list, [{{_target_: package.module.Class}}]")
    theirs = {key: given.get(key) or [] for key in ("callbacks", "plugins")}
    launcher = cluster_environment()
    ours = {CheckpointIO: AtomicCheckpointIO(), ClusterEnvironment: launcher}
    plugins = theirs["plugins"] + [
        plugin for kind, plugin in ours.items() if plugin and not any(isinstance(p, kind) for p in theirs["plugins"])
    ]
    at_terminal = sys.stdout.isatty()
    all_callbacks = [*callbacks, *theirs["callbacks"]]
    bar = at_terminal or any(isinstance(c, ProgressBar) for c in all_callbacks)
    shown = {"enable_progress_bar": bar, "enable_model_summary": at_terminal} | {
        key: given[key] for key in ("enable_progress_bar", "enable_model_summary") if key in given
    }
    if shown["enable_progress_bar"] and not any(isinstance(c, ProgressBar) for c in all_callbacks):
        all_callbacks.append(RichProgressBar(refresh_rate=5))
    if shown["enable_model_summary"] and not any(isinstance(c, ModelSummary) for c in all_callbacks):
        all_callbacks.append(RichModelSummary(max_depth=2))
    if others := [c for c in all_callbacks if not isinstance(c, Callback)]:
        raise UserError(f"callbacks: {others[0]!r} is not a Lightning callback; remove it")
    arguments = {"logger": list(loggers) or False, "default_root_dir": str(folder)} | given | shown
    arguments |= {"callbacks": all_callbacks, "plugins": plugins}
    try:
        trainer: pl.Trainer = build(config, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, (MisconfigurationException, TypeError, RuntimeError, ValueError)):
            raise UserError(f"trainer: {error.__cause__}") from error
        raise
    devices = trainer.num_devices * trainer.num_nodes
    if launcher and devices != (processes := launcher.world_size()):  # each would train alone, in one run folder
        raise UserError(
            f"torchrun or srun starts {processes} processes, expected trainer.num_nodes={trainer.num_nodes} times "
            f"trainer.devices={trainer.num_devices}; set them to the number of machines and of processes on each, or "
            "start one process (SLURM: --ntasks=1)"
        )
    _check_precision(trainer, str(config.precision))
    if config.get("fast_dev_run"):
        raise UserError("trainer.fast_dev_run writes no checkpoint; use trainer=debug for a smoke test")
    _check_epochs(trainer)
    return trainer


def _check_ranges(config: DictConfig) -> None:
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    check_finite("trainer", settings)
    if settings.get("max_epochs") is None and not (settings.get("max_steps") or settings.get("max_time")):
        raise UserError("trainer.max_epochs=null: training would never end; expected a whole number, 1 or more")
    for name in ("max_epochs", "check_val_every_n_epoch"):
        if settings.get(name) is not None:
            check_whole(f"trainer.{name}", settings[name], 1)
    check_whole("trainer.accumulate_grad_batches", settings.get("accumulate_grad_batches", 1), 1)
    if re.search("spawn|fork|notebook", strategy := str(settings.get("strategy"))):
        raise UserError(
            f"trainer.strategy={strategy}: its processes end after training, before the test; use trainer.strategy=ddp"
        )
    if settings.get("gradient_clip_val") is not None:
        check_number("trainer.gradient_clip_val", settings["gradient_clip_val"])


def _check_epochs(trainer: pl.Trainer) -> None:
    """Refuse settings without a validated epoch: there would be no best checkpoint to test."""
    every, last = trainer.check_val_every_n_epoch, trainer.max_epochs
    if every is None or (last is not None and 0 <= last < every):
        raise UserError(f"trainer.check_val_every_n_epoch={every}: expected 1 to trainer.max_epochs={last}")
    for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if getattr(trainer, name) == 0:
            raise UserError(f"trainer.{name}=0: expected a positive number, or null for all")


def _check_precision(trainer: pl.Trainer, precision: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"trainer.precision={precision}{did_you_mean(precision, PRECISIONS)} ({', '.join(PRECISIONS)})")
    if precision.startswith("16") and isinstance(trainer.accelerator, CPUAccelerator):
        raise UserError(
            f"trainer.precision={precision} needs a GPU, but this run is on the CPU; "
            "use trainer.precision=bf16-mixed or 32-true"
        )
    on_cuda = isinstance(trainer.accelerator, CUDAAccelerator)
    if precision.startswith("bf16") and on_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(
            f"trainer.precision={precision}: this GPU lacks bfloat16; use trainer.precision=16-mixed or 32-true"
        )


def check_monitor(config: DictConfig, classes: Sequence[str], positive: Sequence[str], validated: bool) -> None:
    """Refuse to monitor a metric that is unknown or undefined for this data set.

    Args:
        config: Configuration of the run.
        classes: Class names of the data set.
        positive: Malignant classes of the data set.
        validated: Whether the split has validation images.

    Raises:
        UserError: Such a metric, with a suggestion; or patience without a metric.
    """
    monitor = config.monitor
    if monitor is None and config.patience is not None:
        raise UserError(f"patience={config.patience} needs a monitored metric; set monitor or patience=null")
    needs_validation = {"model.plateau": config.model.plateau, "monitor": str(monitor).startswith("val/")}
    if not validated and (keys := [key for key, needed in needs_validation.items() if needed]):
        raise UserError(
            f"{' and '.join(keys)}: validation metrics are needed, but the split has no validation images; "
            f"set {' '.join(f'{key}=null' for key in keys)}, which keeps the last epoch"
        )
    if monitor is None:
        return
    perfect = compute_metrics(torch.eye(len(classes)), torch.arange(len(classes)), classes, positive)
    names = [f"{stage}/{name}" for stage in ("val", "train") for name, value in perfect.items() if value == value]
    if monitor not in names:
        raise UserError(
            f"monitor={monitor} is not a metric of this data set{did_you_mean(monitor, names)} ({', '.join(names)})"
        )


def check_batches(model: nn.Module, batch_size: int, devices: int) -> None:
    """Refuse batches that are too small for the devices or for BatchNorm.

    Raises:
        UserError: Fewer than 1 image per device, or than 2 if the network has BatchNorm.
    """
    each = batch_size // devices
    if each < 1:
        raise UserError(f"data.batch_size={batch_size} for {devices} devices: expected at least 1 image per device")
    if each < 2 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise UserError(
            f"data.batch_size={batch_size} gives {each} image to each of {devices} devices, and the network's "
            f"BatchNorm cannot average one; expected data.batch_size={2 * devices} or more"
        )
