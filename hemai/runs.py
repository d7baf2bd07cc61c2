"""The folder of a run: what is written there, and where."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from hemai import figures
from hemai.callbacks import Record
from hemai.checks import flat
from hemai.classifier import CellClassifier
from hemai.composition import hydra_facts
from hemai.data import CellDataModule
from hemai.data.splits import split_hash
from hemai.errors import UserError
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.operating_point import choose_operating_point
from hemai.evaluation.predictions import Predictions
from hemai.files import write_text
from hemai.metrics import confusion_matrix
from hemai.models.weights import read_torch_file
from hemai.saved import read_settings
from hemai.trainer import AtomicCheckpointIO

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
        before = pd.read_csv(run.folder / "splits.csv", dtype=str, keep_default_na=False)
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


def predictions_of(model: CellClassifier, data: CellDataModule, split: str) -> Predictions:
    """What the last pass over a split gave, with the operating point of the model, if it has one."""
    index, logits, _ = model.results[split]
    rows = data.table.iloc[data.rows[split][index.numpy()]]
    point = {name: model.hparams["facts"].get(name) for name in OPERATING_POINT}
    return Predictions(rows, logits.double().numpy(), tuple(model.classes), tuple(model.positive), **point)


def keep_operating_point(run: Run, model: CellClassifier, data: CellDataModule, threshold: DictConfig) -> None:
    """Choose threshold and temperature on the validation images, and write them into the best checkpoint."""
    validation = predictions_of(model, data, "val") if "val" in data.rows else None
    point = asdict(choose_operating_point(validation, threshold.rule, threshold.sensitivity))
    model.hparams["facts"] |= point
    _write_facts(run, point)


@rank_zero_only
def _write_facts(run: Run, facts: dict[str, Any]) -> None:
    content = torch.load(run.best, map_location="cpu", weights_only=True)
    content["hyper_parameters"]["facts"] |= facts
    AtomicCheckpointIO().save_checkpoint(content, run.best)


def summarise(model: CellClassifier, data: CellDataModule, record: Record) -> dict[str, Any]:
    """All facts of a finished run as one flat mapping; NaN (not defined) becomes None."""
    splits = data.split_names()
    tested = {name: value for name, value in model.figures.items() if name.split("/")[0] in splits[1:]}
    for split in data.test_names():
        for figure, interval in group_intervals(predictions_of(model, data, split)).items():
            name = f"{split}_{figure}" if figure.startswith("at_threshold/") else f"{split}/{figure}"
            tested.setdefault(name, round(interval.value, 7))
            tested |= {f"{name}/{limit}": round(getattr(interval, limit), 7) for limit in LIMITS}
    facts: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in tested.items()}
    facts |= {name: model.hparams["facts"][name] for name in OPERATING_POINT}
    for split in splits:
        rows = data.rows[split]
        facts[f"{split}/images"] = len(rows)
        facts[f"{split}/groups"] = int(data.table["group"].iloc[rows].nunique())
        if data.transform.segments:
            facts[f"{split}/no_nucleus"] = int(data.table["no_nucleus"].iloc[rows].sum())
    return facts | {
        "groups_shared": len(data.leakage.groups),
        "duplicates_shared": data.leakage.duplicates,
        "parameters": sum(p.numel() for p in model.backbone.parameters()),
        "epochs": len(record.rows),
        "seconds": record.seconds,
        "images_per_second": record.timed_images / record.timed_seconds if record.timed_seconds else None,
    }


def finish_run(run: Run, model: CellClassifier, data: CellDataModule, record: Record, result: dict[str, Any]) -> None:
    """Write predictions, figures, the last pictures of the dashboard, and `result.json` at the end."""
    best = torch.load(run.best, map_location="cpu", weights_only=True)
    pictures = {"curves": figures.draw_curves(record.rows, best["epoch"] + 1)}
    for split in data.split_names()[1:]:
        write_text(run.folder / f"predictions_{split}.csv", predictions_of(model, data, split).to_csv())
        _, logits, targets = model.results[split]
        matrix = confusion_matrix(logits, targets, len(model.classes))
        pictures[f"confusion_matrix_{split}"] = figures.draw_confusion(matrix, model.classes, f"{split} images")
        pictures[f"mistakes_{split}"] = figures.draw_mistakes(data, split, model.results[split])
    for name, picture in pictures.items():
        figures.save(picture, run.folder / "figures" / f"{name}.png")
    with SummaryWriter(run.folder / "tensorboard" / "result") as writer:
        for name, picture in pictures.items():
            writer.add_image(name, figures.pixels(picture), 0, dataformats="HWC")
        settings = read_settings(run.folder)
        writer.add_hparams(
            {
                name: value
                for name, value in flat(settings).items()
                if isinstance(value, (str, int, float, bool)) and not name.endswith("_target_")
            },
            {name: value for name, value in result.items() if "/" in name and value is not None},
            run_name=".",
        )
    write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
