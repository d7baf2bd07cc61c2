"""The folder of a run: what is written there, and where."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai import figures
from hemai.callbacks import BestCheckpoint, MetricHistory, Stopwatch
from hemai.checks import flat
from hemai.classifier import CellClassifier
from hemai.composition import hydra_facts
from hemai.data import CellDataModule
from hemai.data.splits import split_hash
from hemai.errors import UserError
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.predictions import Predictions
from hemai.files import read_table, write_text
from hemai.loggers import log_image, log_result
from hemai.models.weights import read_torch_file
from hemai.trainer import AtomicCheckpointIO

Kind = TypeVar("Kind", bound=Callback)

LIMITS = ("low", "high")
OPERATING_POINT = ("threshold", "temperature")
RUN_VARIABLE = "HEMAI_RUN"  # tells the processes of further devices the folder that the first one chose


@dataclass(frozen=True)
class Run:
    """Paths of a run folder."""

    folder: Path

    @property
    def best(self) -> Path:
        """Checkpoint of the epoch with the best monitored figure."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.folder / "checkpoints" / "last.ckpt"


def choose_run(config: DictConfig, data_name: str) -> Run:
    """The folder of this run; nothing is written yet.

    Raises:
        UserError: `run_dir` is not empty and this is no resume.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and os.environ.get(RUN_VARIABLE):
        return Run(Path(os.environ[RUN_VARIABLE]))
    if config.resume:
        folder = Path(config.resume)
        last = read_torch_file(Run(folder).last, "resume")
        if not isinstance(last, dict) or not {"loops", "state_dict", "callbacks", "plateau"} <= last.keys():
            raise UserError(f"resume: {Run(folder).last} is no checkpoint of a run; delete the run and start it again")
        done, wanted = int(last["epoch"]), config.trainer.max_epochs
        if wanted is not None and wanted < done:
            raise UserError(
                f"resume: the run is in epoch {done + 1}, past trainer.max_epochs={wanted}; give more epochs"
            )
    elif config.run_dir:
        folder = Path(config.run_dir)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"run_dir: {folder} is a file; choose another name")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"run_dir: {folder} is there and not empty; choose another, or go on with that run by resume={folder}"
            )
    else:
        name = f"{data_name}-{config.model.backbone}"
        folder = Path.cwd() / "lightning_logs" / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        tries = (folder.with_name(f"{folder.name}_{i}") for i in range(2, 1_000))
        folder = folder if not folder.exists() else next(path for path in tries if not path.exists())
    os.environ[RUN_VARIABLE] = str(folder)
    return Run(folder)


@rank_zero_only
def start_run(run: Run, config: DictConfig, overrides: list[str], data: CellDataModule) -> None:
    """Write what is known before training: configuration, overrides and split.

    A resumed run keeps what it has.

    Raises:
        UserError: The folder cannot be written, or the images changed since the run that is resumed.
    """
    if config.resume:
        before = read_table(run.folder / "splits.csv", "resume", ["path", "split"])
        if split_hash(before, before["split"]) != data.split_hash():
            raise UserError(
                f"resume: the images under {data.dataset.root} or their split changed since the run "
                f"({len(before):,} images then, {len(data.table):,} now); restore them, or start a new run"
            )
        return
    hydra = run.folder / ".hydra"
    try:
        hydra.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, hydra / "config.yaml", resolve=True)
        # Hydra's own settings are not of the training; the search path and the choices stand in hydra.yaml.
        settings = [override for override in overrides if not override.startswith("hydra.")]
        for name, content in (("overrides", settings), ("hydra", hydra_facts(overrides))):
            text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=False)
            write_text(hydra / f"{name}.yaml", text)
        splits = data.table[["path", "label", "group", "split"]].to_csv(index=False)
        write_text(run.folder / "splits.csv", splits)
    except OSError as error:
        raise UserError(f"cannot write the run folder {run.folder} ({error}); set run_dir to another place") from error


def load_best(run: Run) -> dict[str, Any]:
    """The checkpoint of the best epoch, safely."""
    checkpoint: dict[str, Any] = torch.load(run.best, map_location="cpu", weights_only=True)
    return checkpoint


@rank_zero_only
def store_operating_point(run: Run, best: dict[str, Any], point: OperatingPoint) -> None:
    """Write threshold and temperature into the best checkpoint."""
    best["hyper_parameters"]["facts"] |= asdict(point)
    AtomicCheckpointIO().save_checkpoint(best, run.best)


def summarise(
    predictions: Mapping[str, Predictions],
    point: OperatingPoint,
    model: CellClassifier,
    data: CellDataModule,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """All results of a finished run as one flat mapping; NaN (not defined) becomes None.

    Args:
        predictions: Of validation and test images, by split.
        point: Threshold and temperature of the checkpoint.
        model: Classifier that made them.
        data: Data of the run.
        callbacks: As of `hemai.callbacks.build_callbacks`.
    """
    values: dict[str, float] = {}
    for split, of_split in predictions.items():
        values |= {f"{split}/{name}": value for name, value in of_split.figures().items()}
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
        if data.transform.segments:
            result[f"{split}/no_nucleus"] = int(data.table["no_nucleus"].iloc[rows].sum())
    clock, history, best = (
        _only(Stopwatch, callbacks),
        _only(MetricHistory, callbacks),
        _only(BestCheckpoint, callbacks),
    )
    return result | {
        "groups_shared": len(data.leakage.groups),
        "duplicates_shared": data.leakage.duplicates,
        "parameters": sum(p.numel() for p in model.backbone.parameters()),
        "epochs": len(history.rows),
        "score": None if best.best_model_score is None else float(best.best_model_score),
        "seconds": clock.seconds,
        "images_per_second": clock.timed_images / clock.timed_seconds if clock.timed_seconds else None,
    }


def _only(kind: type[Kind], callbacks: Sequence[Callback]) -> Kind:
    return next(callback for callback in callbacks if isinstance(callback, kind))


def finish_run(
    run: Run,
    config: DictConfig,
    predictions: Mapping[str, Predictions],
    data: CellDataModule,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    best_epoch: int,
    result: dict[str, Any],
) -> None:
    """Write predictions and plots, log them, and write `result.json` at the end.

    Args:
        run: Paths of the run folder.
        config: Configuration of the run.
        predictions: Of validation and test images, by split.
        data: Data of the run.
        callbacks: As of `hemai.callbacks.build_callbacks`.
        loggers: Loggers of the Trainer.
        best_epoch: Of the checkpoint that was tested, from 1.
        result: As of `summarise`.
    """
    for split, of_split in predictions.items():
        write_text(run.folder / f"predictions_{split}.csv", of_split.to_csv())
    rows = _only(MetricHistory, callbacks).rows
    if config.plots:
        pictures = [figures.render("curves", figures.draw_curves(rows, best_epoch))]
        for split, of_split in predictions.items():
            confusion = figures.draw_confusion(of_split.confusion_matrix(), of_split.classes, f"{split} images")
            errors = figures.draw_errors(of_split, data.dataset.root, split)
            pictures += [
                figures.render(f"confusion_matrix_{split}", confusion),
                figures.render(f"mistakes_{split}", errors),
            ]
        for picture in pictures:
            picture.save(run.folder / "figures")
            log_image(loggers, f"result/{picture.name}", picture.array, 0)
    settings = flat(OmegaConf.to_container(config, resolve=True))
    metrics = {name: value for name, value in result.items() if "/" in name and value is not None}
    log_result(loggers, settings, metrics, int(rows[-1]["step"]) if rows else 0)
    write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
