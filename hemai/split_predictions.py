"""Predictions of a split by a Trainer, on one device or on several."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from hemai.classifier import CellClassifier
from hemai.data import CellDataModule
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.predictions import Predictions
from hemai.logit_buffer import LogitBuffer


class _KeepLogits(Callback):
    """Keeps what `predict_step` returns; Lightning's own list would keep a small tensor for each batch."""

    def __init__(self) -> None:
        self.buffer = LogitBuffer()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch."""
        self.buffer.add(outputs["index"], outputs["logits"], batch["target"])


def predict_split(
    trainer: pl.Trainer,
    model: CellClassifier,
    data: CellDataModule,
    split: str,
    point: OperatingPoint | None = None,
) -> Predictions:
    """Predict every image of a split exactly once, on all devices of a Trainer; each gets the same result.

    Args:
        trainer: Any Trainer.
        model: Classifier with the classes of `data`.
        data: Data module that is set up.
        split: Name, such as "val" or "test".
        point: Threshold and temperature, if they are chosen already.
    """
    keep = _KeepLogits()
    trainer.callbacks.append(keep)  # type: ignore[attr-defined]
    try:
        trainer.predict(model, data.eval_dataloader(split), return_predictions=False)
    finally:
        trainer.callbacks.remove(keep)  # type: ignore[attr-defined]
    gathered = keep.buffer.gather(trainer)
    return Predictions(
        data.table.iloc[data.rows[split][gathered.index.numpy()]],
        gathered.logits.double().numpy(),
        tuple(model.classes),
        tuple(model.positive),
        None if point is None else point.threshold,
        None if point is None else point.temperature,
    )
