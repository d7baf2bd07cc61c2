"""Callbacks of a training run: metric history, checkpoints that resume exactly, images for the loggers."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint

from hemai.evaluation.metrics import confusion_matrix
from hemai.models.classifier import CellClassifier
from hemai.settings.run_folder import RunFolder
from hemai.training.loggers import log_image
from hemai.utils.errors import check_whole
from hemai.utils.files import write_text
from hemai.utils.pictures import draw_confusion, draw_sheet, render

TRAINING_IMAGES = 24  # number shown from the first batch


def mode_of(monitor: str | None) -> str:
    """Direction of the best value of a metric, "min" or "max"."""
    return "min" if monitor is None or monitor.endswith("loss") else "max"


def build_callbacks(
    run: RunFolder, monitor: str | None, patience: int | None, save_every_n_steps: int, plots: bool = True
) -> list[Callback]:
    """Build the callbacks of a run, in the order in which they run."""
    if patience is not None:
        check_whole("patience", patience, 1)
    best = BestCheckpoint(
        run.best.parent,
        run.best.stem,
        monitor=monitor,
        mode=mode_of(monitor),
        enable_version_counter=False,
        save_on_train_epoch_end=not str(monitor).startswith("val/"),  # else after each validation
    )
    stop = []
    if monitor is not None and patience is not None:
        stop = [ResumableEarlyStopping(monitor, patience=patience, mode=mode_of(monitor))]
    return [
        *([DashboardImages()] if plots else []),
        *stop,
        Stopwatch(),
        MetricHistory(run.metrics),
        best,
        LastCheckpoint(run.last, save_every_n_steps),
    ]


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that survives a resume: a run that had stopped trains no further."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once if patience had run out before the resume."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class BestCheckpoint(ModelCheckpoint):
    """Write `best.ckpt`; the best score survives a move of the run folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score of a resumed run; Lightning drops it if the path has changed."""
        here = str(Path(str(self.dirpath)) / "best.ckpt")
        moved: dict[str, Any] = {"dirpath": self.dirpath, "best_model_path": here, "kth_best_model_path": here}
        moved["best_k_models"] = dict.fromkeys(
            [here] if state_dict["best_k_models"] else [], state_dict["best_model_score"]
        )
        super().load_state_dict({**state_dict, **moved})


class LastCheckpoint(Checkpoint):
    """Write `last.ckpt` every few steps and at the end of each epoch.

    Args:
        path: Path of the checkpoint.
        every_n_steps: Batches between two saves within an epoch.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        check_whole("save_every_n_steps", every_n_steps, 1)
        self.path, self.every_n_steps = path, every_n_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every few steps within an epoch."""
        # Not after its last batch: on resume Lightning would take the epoch as validated. Nor
        # between two batches whose gradients are accumulated: a checkpoint holds no gradients.
        last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        accumulated = trainer.accumulate_grad_batches
        every = -(-self.every_n_steps // accumulated) * accumulated
        if (batch_idx + 1) % every == 0 and not last_batch:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the finished epoch, after all metrics and callbacks."""
        trainer.save_checkpoint(self.path)


class Stopwatch(Callback):
    """Measure training time and images per second, also across resumes.

    Attributes:
        seconds: Training time.
        timed_images, timed_seconds: Images and time of the training batches after the first epoch.
    """

    def __init__(self) -> None:
        self.seconds = self.timed_images = self.timed_seconds = 0.0
        self._epochs_here = self._epoch_images = 0
        self._start = self._epoch_start = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """State from which a resumed run continues."""
        seconds = self.seconds + time.monotonic() - self._start
        return {"seconds": seconds, "timed_images": self.timed_images, "timed_seconds": self.timed_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the times of a resumed run."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resume in mid-epoch starts no epoch."""
        self._start = self._epoch_start = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the training batches."""
        self._epoch_start, self._epoch_images = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count images; stop the clock after the last batch."""
        self._epoch_images += len(batch["target"]) * trainer.world_size
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            if self._epochs_here <= 1:  # a process warms up in its first epoch: counted only if it is alone
                self.timed_images = self.timed_seconds = 0.0
            self.timed_images += self._epoch_images
            self.timed_seconds += time.monotonic() - self._epoch_start
            self._epochs_here += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self.seconds += time.monotonic() - self._start


class MetricHistory(Checkpoint):
    """Record the metrics of every epoch in `metrics.csv` and in the checkpoint.

    Subclasses `Checkpoint` only because Lightning calls those after the module, whose training
    metrics are recorded here. The file is rewritten from the rows in the checkpoint, so a
    resumed run has neither gaps nor repeated rows.

    Args:
        file: Path of the csv file.

    Attributes:
        rows: One mapping per epoch: `epoch` (from 1), `step`, `learning_rate`, `train/...`, `val/...`.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """State from which a resumed run continues."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of a resumed run."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of this epoch, and write the file."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            # Lightning stores float32: more digits would be noise.
            **{name: float(f"{value:.7g}") for name, value in logged.items()},
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        self.write()
        if trainer.progress_bar_callback is None:
            shown = [name for name in ("train/loss", "val/loss", "train/accuracy", "val/accuracy") if name in row]
            text = "  ".join(f"{name} {row[name]:.4f}" for name in shown)
            print(f"epoch {row['epoch']}/{trainer.max_epochs}  {text}", flush=True)

    def write(self) -> None:
        """Write `metrics.csv` atomically."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: "" if v != v else v for n, v in row.items()} for row in self.rows)
        write_text(self.file, text.getvalue())


class DashboardImages(Callback):
    """Send images to the loggers: augmented training images, and the confusion matrix of each validation."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the first training images, as the network received them."""
        if trainer.is_global_zero and trainer.loggers and trainer.current_epoch == batch_idx == 0:
            images = batch["image"][:TRAINING_IMAGES].permute(0, 2, 3, 1).cpu().numpy()
            captions = [cast(CellClassifier, pl_module).classes[target] for target in batch["target"].tolist()]
            sheet = draw_sheet(list(images), captions, "training images, as augmented")
            log_image(trainer.loggers, "train/training_images", render("training_images", sheet).array, 0)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the confusion matrix of this epoch."""
        model = cast(CellClassifier, pl_module)
        if trainer.is_global_zero and trainer.loggers and trainer.state.fn == "fit" and "val" in model.evaluated:
            last = model.evaluated["val"]
            epoch = trainer.current_epoch + 1
            matrix = confusion_matrix(last.logits, last.targets, len(model.classes))
            picture = draw_confusion(matrix, model.classes, f"validation images, epoch {epoch}")
            log_image(trainer.loggers, "val/confusion_matrix", render("confusion_matrix", picture).array, epoch)
