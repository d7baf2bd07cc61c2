"""Results of a run: predictions, plots and `result.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.data.datamodule import CellDataModule
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.plots import draw_errors
from hemai.evaluation.predictions import Predictions
from hemai.models.classifier import CellClassifier
from hemai.models.logit_buffer import LogitBuffer
from hemai.runs.checkpoint import load_tensors, read_checkpoint
from hemai.settings.run_folder import RunFolder
from hemai.settings.upgrade import upgrade_checkpoint
from hemai.settings.validation import flatten
from hemai.training.callbacks import BestCheckpoint, MetricHistory, Stopwatch
from hemai.training.loggers import log_image, log_result
from hemai.training.trainer import AtomicCheckpointIO
from hemai.utils.files import write_text
from hemai.utils.pictures import draw_confusion, draw_curves, render

Kind = TypeVar("Kind", bound=Callback)
LIMITS = ("low", "high")


class _LogitCollector(Callback):
    """Collect the outputs of `predict_step` in a buffer; Lightning would keep a small tensor for each batch."""

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
        """Add the logits of a batch to the buffer."""
        self.buffer.add(outputs["index"], outputs["logits"], batch["target"])


def predict_split(
    trainer: pl.Trainer,
    model: CellClassifier,
    data: CellDataModule,
    split: str,
    point: OperatingPoint | None = None,
) -> Predictions:
    """Predict every image of a split exactly once, on all devices of a Trainer; every device gets the same result.

    Args:
        trainer: Any Trainer.
        model: Classifier with the classes of `data`.
        data: Data module that is set up.
        split: Name of the split, such as "val" or "test".
        point: Threshold and temperature, if already chosen.
    """
    collector = _LogitCollector()
    trainer.callbacks.append(collector)  # type: ignore[attr-defined]
    try:
        trainer.predict(model, data.eval_dataloader(split), return_predictions=False)
    finally:
        trainer.callbacks.remove(collector)  # type: ignore[attr-defined]
    gathered = collector.buffer.gather(trainer)
    return split_predictions(model, data, data.rows[split][gathered.index.numpy()], gathered.logits, point)


def split_predictions(
    model: CellClassifier, data: CellDataModule, rows: np.ndarray, logits: torch.Tensor, point: OperatingPoint | None
) -> Predictions:
    """Predictions of some rows of a data module's table, with its groups and the operating point."""
    return Predictions(
        data.table.iloc[rows],
        logits.double().numpy(),
        tuple(model.classes),
        tuple(model.positive),
        None if point is None else point.threshold,
        None if point is None else point.temperature,
        data.dataset.group_kind,
        abstain_below=None if point is None else point.abstain_below,
    )


def load_best(run: RunFolder, model: CellClassifier) -> dict[str, Any]:
    """Load the checkpoint of the best epoch, and its tensors into `model`.

    Raises:
        UserError: The checkpoint is missing, damaged or of another network.
    """
    checkpoint = read_checkpoint(run.best, "best checkpoint")
    upgrade_checkpoint(checkpoint)
    load_tensors(model, checkpoint, run.best)
    return checkpoint


@rank_zero_only
def store_threshold_and_temperature(run: RunFolder, best: dict[str, Any], point: OperatingPoint) -> None:
    """Write threshold and temperature, and what the threshold rests on, into the best checkpoint."""
    best["hyper_parameters"]["metadata"] |= asdict(point)
    AtomicCheckpointIO().save_checkpoint(best, run.best)


def summarise(
    predictions: Mapping[str, Predictions],
    point: OperatingPoint,
    model: CellClassifier,
    data: CellDataModule,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """Collect all results of a finished run in one flat mapping; NaN (undefined) becomes None.

    Args:
        predictions: Predictions of the validation and test images, by split.
        point: Threshold and temperature of the checkpoint.
        model: Classifier that made the predictions.
        data: Data module of the run.
        callbacks: Callbacks of `hemai.training.callbacks.build_callbacks`.
    """
    values: dict[str, float] = {}
    for split, of_split in predictions.items():
        values |= {f"{split}/{name}": value for name, value in of_split.metrics().items()}
    for split in data.test_names():
        for metric, interval in group_intervals(predictions[split]).items():
            name = f"{split}_{metric}" if metric.startswith("at_threshold/") else f"{split}/{metric}"
            values.setdefault(name, round(interval.value, 7))
            values |= {f"{name}/{limit}": round(getattr(interval, limit), 7) for limit in LIMITS}
    result: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in values.items()}
    result |= {"threshold": point.threshold, "temperature": point.temperature}
    for split in data.split_names():
        rows = data.rows[split]
        result[f"{split}/images"] = len(rows)
        result[f"{split}/groups"] = int(data.table["group"].iloc[rows].nunique())
        if data.transform.has_segmentation:
            result[f"{split}/no_nucleus"] = int(data.table["no_nucleus"].iloc[rows].sum())
    stopwatch, history = _only(Stopwatch, callbacks), _only(MetricHistory, callbacks)
    best = _only(BestCheckpoint, callbacks)
    return result | {
        "groups_shared": len(data.leakage.groups),
        "duplicates_shared": data.leakage.duplicates,
        "parameters": sum(p.numel() for p in model.backbone.parameters()),
        "parameters_trained": sum(p.numel() for p in model.backbone.parameters() if p.requires_grad),
        "epochs": len(history.rows),
        "score": None if best.best_model_score is None else float(best.best_model_score),
        "seconds": stopwatch.seconds,
        "images_per_second": stopwatch.timed_images / stopwatch.timed_seconds if stopwatch.timed_seconds else None,
    }


def _only(kind: type[Kind], callbacks: Sequence[Callback]) -> Kind:
    return next(callback for callback in callbacks if isinstance(callback, kind))


def finish_run(
    run: RunFolder,
    config: DictConfig,
    predictions: Mapping[str, Predictions],
    data: CellDataModule,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    best_epoch: int,
    result: dict[str, Any],
) -> None:
    """Write predictions and plots, log plots and metrics, and write `result.json` last.

    Args:
        run: Paths of the run folder.
        config: Configuration of the run.
        predictions: Predictions of the validation and test images, by split.
        data: Data module of the run.
        callbacks: Callbacks of `hemai.training.callbacks.build_callbacks`.
        loggers: Loggers of the Trainer.
        best_epoch: Epoch of the tested checkpoint, counted from 1.
        result: Mapping that `summarise` returned.
    """
    for split, of_split in predictions.items():
        write_text(run.predictions(split), of_split.to_csv())
    rows = _only(MetricHistory, callbacks).rows
    if config.plots:
        pictures = [render("curves", draw_curves(rows, best_epoch))] if rows else []  # a probe has no epochs
        for split, of_split in predictions.items():
            confusion = draw_confusion(of_split.confusion_matrix(), of_split.classes, f"{split} images")
            errors = draw_errors(of_split, data.dataset.root, split)
            pictures += [
                render(f"confusion_matrix_{split}", confusion),
                render(f"mistakes_{split}", errors),
            ]
        for picture in pictures:
            picture.save(run.figures)
            log_image(loggers, f"result/{picture.name}", picture.array, 0)
    settings = flatten(OmegaConf.to_container(config, resolve=True))
    metrics = {name: value for name, value in result.items() if "/" in name and value is not None}
    log_result(loggers, settings, metrics, int(rows[-1]["step"]) if rows else 0)
    write_text(run.result, json.dumps(result, indent=2) + "\n")
