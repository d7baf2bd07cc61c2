"""Search a learning rate or a batch size before training."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.tuner import Tuner

from hemai.data.datamodule import CellDataModule
from hemai.models.classifier import CellClassifier
from hemai.training.trainer import build_trainer, check_batches
from hemai.utils.errors import UserError, did_you_mean

SMALLEST_BATCH = 8
KEYWORDS = ("learning_rate", "batch_size")


def tune_setting(config: DictConfig, model: CellClassifier, data: CellDataModule) -> dict[str, Any]:
    """Search a learning rate or batch size with Lightning's Tuner; no trained weights are kept.

    Args:
        config: Configuration of the run. Its `find`: "learning_rate": 100 steps with rates from 1e-7 up to 1; the
            result is the rate at which the loss falls fastest. "batch_size": doubled from 8 until memory is full or an
            epoch is one batch.
        model: Classifier without a schedule, which would override the tried rate.
        data: Data module of the run.

    Returns:
        The setting and its value.

    Raises:
        UserError: An unknown keyword, several devices, or a search without a result.

    Source: L. Smith, Cyclical learning rates for training neural networks, WACV 2017.
    """
    keyword = config.find
    if keyword not in KEYWORDS:
        raise UserError(f"find={keyword}{did_you_mean(keyword, KEYWORDS)} (expected {' or '.join(KEYWORDS)})")
    with tempfile.TemporaryDirectory() as folder:  # the Tuner saves the weights that it starts from
        endless = OmegaConf.merge(config.trainer, {"max_epochs": 1000})  # the search counts steps
        trainer = build_trainer(cast(DictConfig, endless), [], [], Path(folder))
        if trainer.world_size > 1:
            raise UserError(f"find={keyword} with {trainer.world_size} devices: expected one; set trainer.devices=1")
        check_batches(model, data.batch_size, trainer.world_size)
        tuner = Tuner(trainer)
        if keyword == "batch_size":
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
        raise UserError(f"find={keyword}: no value was found; use more training images, or set {setting} by hand")
    print(f"{setting}={value}")
    return {setting: value}
