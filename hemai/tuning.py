"""Looking for a learning rate or a batch size before training."""

from __future__ import annotations

import tempfile
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.tuner import Tuner

from hemai.classifier import CellClassifier
from hemai.data import CellDataModule
from hemai.errors import UserError, nearest

SMALLEST_BATCH = 8
CHOICES = ("learning_rate", "batch_size")


def find(what: str, model: CellClassifier, data: CellDataModule, machine: pl.Trainer) -> dict[str, Any]:
    """Search with Lightning's Tuner; nothing is trained for keeps.

    Args:
        what: "learning_rate": 100 steps with rates from 1e-7 up to 1, and the one at which the loss falls
            fastest. "batch_size": doubled from 8 until memory is full or an epoch is one batch.
        model: Of the run.
        data: Of the run.
        machine: Of the run.

    Returns:
        The setting and its value.

    Raises:
        UserError: Another word, several devices, or a search without a result.

    Source: L. Smith, Cyclical learning rates for training neural networks, WACV 2017.
    """
    if what not in CHOICES:
        raise UserError(f"find={what}{nearest(what, CHOICES)} (expected {' or '.join(CHOICES)})")
    if machine.world_size > 1:
        raise UserError(f"find={what} with {machine.world_size} devices: it searches on one; set trainer.devices=1")
    model.hparams["schedule"] = model.hparams["plateau"] = None  # they would set the rate that is looked for
    tuner = Tuner(machine)
    with tempfile.TemporaryDirectory() as folder:  # the Tuner saves the weights that it starts from
        machine._default_root_dir = folder  # type: ignore[attr-defined]
        if what == "batch_size":
            doublings = max(1, (len(data.rows["train"]) // SMALLEST_BATCH).bit_length())
            setting = "data.batch_size"
            value: float | None = tuner.scale_batch_size(
                model, datamodule=data, init_val=SMALLEST_BATCH, max_trials=doublings
            )
        else:
            search = tuner.lr_find(model, datamodule=data, min_lr=1e-7, max_lr=1.0, update_attr=False)
            rate = search.suggestion() if search else None
            setting, value = "model.optimizer.lr", rate and float(f"{rate:.2g}")
    if value is None:
        raise UserError(f"find={what}: nothing was found; give more training images, or choose {setting} by hand")
    print(f"{setting}={value}")
    return {setting: value}
