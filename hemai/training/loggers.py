"""Loggers of a run: those of Lightning, and a TensorBoard logger with training and validation in one chart."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from hemai.settings.instantiate import build
from hemai.utils.errors import UserError

EXTRAS = ("wandb", "mlflow")  # loggers whose package is an extra of hemai


def build_loggers(config: DictConfig | None, folder: Path) -> list[Logger]:
    """Build the loggers of a configuration; those that write files use the run folder.

    Args:
        config: Name -> `_target_` and arguments of a logger; None: no logger.
        folder: Run folder.

    Raises:
        UserError: A logger that cannot be built, such as one whose package is not installed.
    """
    loggers = []
    for name, settings in (config or {}).items():
        if not isinstance(settings, DictConfig) or "_target_" not in settings:
            raise UserError(f"logger.{name!s}={settings}: expected a mapping with _target_, the class of a logger")
        try:
            target = get_class(settings._target_)
            takes_folder = "save_dir" in inspect.signature(target).parameters and "save_dir" not in settings
            loggers.append(build(settings, **({"save_dir": str(folder)} if takes_folder else {})))
        except (UserError, ImportError, InstantiationException) as error:
            reason = error.__cause__ if isinstance(error, InstantiationException) else error
            hint = f"; pip install 'hemai[{name!s}]'" if name in EXTRAS else ""
            raise UserError(f"logger.{name!s}: {' '.join(str(reason).split())}{hint}") from error
    return loggers


def log_settings(loggers: Sequence[Logger], config: DictConfig) -> None:
    """Log the configuration of a run."""
    settings: Any = OmegaConf.to_container(config, resolve=True)
    del settings["seed"]  # the model and the data log their own
    for logger in loggers:
        logger.log_hyperparams(settings)


def log_image(loggers: Sequence[Logger], name: str, image: np.ndarray, step: int) -> None:
    """Log an image with every logger that supports images.

    Args:
        loggers: Loggers of a Trainer.
        name: `<stage>/<name>`.
        image: uint8 RGB, (height, width, 3).
        step: Epoch of the image, counted from 1; 0 for images of no epoch.
    """
    for logger in loggers:
        if isinstance(logger, StageTensorBoardLogger):
            logger.log_image(name, image, step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [image])  # at its current step: W&B steps must not go back
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, image, artifact_file=f"{name}/{step:04}.png")


def log_result(loggers: Sequence[Logger], settings: Mapping[str, Any], result: Mapping[str, float], step: int) -> None:
    """Log the final metrics of a run; TensorBoard lists them with the settings in its table of runs."""
    for logger in loggers:
        if isinstance(logger, StageTensorBoardLogger):
            logger.log_result(settings, result)
        else:
            logger.log_metrics(dict(result), step)
        logger.save()
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # otherwise the next run of a sweep would continue it


class StageTensorBoardLogger(TensorBoardLogger):
    """TensorBoard logger with one writer per stage, so that one chart shows training and validation.

    `train/accuracy` and `val/accuracy` become `accuracy` of the writers `train` and `val`. Metrics of an epoch are
    plotted over epochs (from 1), those of a step over steps; undefined ones are left out.

    Args:
        save_dir: Parent folder.
        name: Folder of the writers.
        version: Subfolder of `name`, empty for none.
    """

    def __init__(self, save_dir: str, name: str = "tensorboard", version: str = "", **options: Any) -> None:
        super().__init__(save_dir, name, version, default_hp_metric=False, **options)
        self._writers: dict[str, SummaryWriter] = {}
        self._started: set[str] = set()  # stages with data

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """Writer of the stage `train`, for methods missing here; Lightning opens it before any step is known."""
        if "train" not in self._writers:
            self._writers["train"] = SummaryWriter(Path(self.log_dir) / "train")
        return self._writers["train"]

    def _writer(self, stage: str, step: int) -> SummaryWriter:
        if stage not in self._started:
            if stage in self._writers:
                self._writers[stage].close()
            # Steps that a resumed run repeats replace the old ones.
            self._writers[stage] = SummaryWriter(Path(self.log_dir) / stage, purge_step=step)
            self._started.add(stage)
        return self._writers[stage]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write each metric with the writer of its stage; metrics without a stage go to `train`."""
        epoch = metrics.get("epoch")
        for name, value in metrics.items():
            if name == "epoch" or math.isnan(value):
                continue
            stage, metric = name.split("/", 1) if "/" in name else ("train", name)
            index = int(step or 0) if epoch is None or name.endswith("_step") else int(epoch) + 1
            by_step = epoch is None or name.endswith("_step")  # a writer has one axis; a resume rewinds it
            self._writer("steps" if by_step else stage, index).add_scalar(name if by_step else metric, value, index)

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Do nothing: `log_result` writes the settings together with the final metrics."""

    @rank_zero_only
    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Write an image with the writer of its stage; see `hemai.training.loggers.log_image`."""
        stage, _, tag = name.partition("/")
        self._writer(stage, step).add_image(tag, image, step, dataformats="HWC")

    @rank_zero_only
    def log_result(self, settings: Mapping[str, Any], result: Mapping[str, float]) -> None:
        """Write settings and final metrics into the table of runs."""
        plain = {name: value for name, value in settings.items() if isinstance(value, (str, int, float, bool))}
        kept = {name: value for name, value in plain.items() if not name.endswith("_target_")}
        self._writer("result", 0).add_hparams(kept, dict(result), run_name=".")

    @rank_zero_only
    def save(self) -> None:
        """Flush all writers."""
        for writer in self._writers.values():
            writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the writers; they are reopened on the next write."""
        super().finalize(status)
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._started.clear()
