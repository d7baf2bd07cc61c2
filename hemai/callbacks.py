"""What happens beside training: records, checkpoints that resume exactly, the dashboard."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
)
from torch.utils.tensorboard import SummaryWriter

from hemai import figures
from hemai.classifier import CellClassifier, data_of
from hemai.files import write_text
from hemai.metrics import confusion_matrix

STAGES = ("train", "val")


def mode_of(monitor: str | None) -> str:
    """Whether the best value of a figure is its "min" or its "max"."""
    return "min" if monitor is None or monitor.endswith("loss") else "max"


def build_callbacks(
    folder: Path,
    monitor: str | None,
    patience: int | None,
    save_every_n_steps: int,
    average_weights: float | None = None,
) -> list[Callback]:
    """The callbacks of a run, in the order in which they act."""
    checkpoints = folder / "checkpoints"
    best = KeepBest(
        checkpoints,
        "best",
        monitor=monitor,
        mode=mode_of(monitor),
        enable_version_counter=False,
        save_on_train_epoch_end=not str(monitor).startswith("val/"),  # else after each validation
    )
    stop = [StopEarly(monitor, patience=patience, mode=mode_of(monitor))] if monitor and patience is not None else []
    average = [EMAWeightAveraging(decay=average_weights)] if average_weights is not None else []
    return [
        *average,
        Dashboard(folder),
        *stop,
        Record(folder),
        best,
        KeepLast(checkpoints / "last.ckpt", save_every_n_steps),
    ]


class StopEarly(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had stopped trains no further."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once if patience was lost before."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class KeepBest(ModelCheckpoint):
    """Writes `best.ckpt`, and remembers the best score also when the run folder has moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the score of a resumed run. Lightning would forget it under another path."""
        here = str(Path(str(self.dirpath)) / "best.ckpt")
        moved: dict[str, Any] = {"dirpath": self.dirpath, "best_model_path": here, "kth_best_model_path": here}
        moved["best_k_models"] = dict.fromkeys(
            [here] if state_dict["best_k_models"] else [], state_dict["best_model_score"]
        )
        super().load_state_dict({**state_dict, **moved})


class KeepLast(Checkpoint):
    """Writes `last.ckpt` every few steps and at the end of each epoch.

    Args:
        path: Of the checkpoint.
        every_n_steps: Batches between two writings within an epoch.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self.path, self.every_n_steps = path, every_n_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within the epoch."""
        # Not after its last batch: Lightning would take the epoch for validated when it resumes. Nor
        # between two batches whose gradients are accumulated: a checkpoint holds no gradients.
        last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        accumulated = trainer.accumulate_grad_batches
        every = -(-self.every_n_steps // accumulated) * accumulated
        if (batch_idx + 1) % every == 0 and not last_batch:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the finished epoch, after all figures and callbacks."""
        trainer.save_checkpoint(self.path)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the data go on after the last batch that was trained."""
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]["current"]
        within_epoch = epochs["processed"] < epochs["ready"]
        data_of(trainer).start_at(epochs["processed"], batches["processed"] if within_epoch else 0)


class Record(Checkpoint):
    """Keeps the figures of every epoch: in `metrics.csv`, in the checkpoint, on TensorBoard.

    A `Checkpoint` by class only because Lightning calls those after the module, whose training
    figures are recorded here. The file is written anew from the rows in the checkpoint, so a
    resumed run leaves neither gap nor repeat.

    Attributes:
        rows: One mapping an epoch: `epoch` (from 1), `step`, `learning_rate`, `train/...`, `val/...`.
        seconds: Training time, over all processes that took part in the run one after the other.
        timed_images, timed_seconds: Of the training batches after the first epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self.seconds = self.timed_images = self.timed_seconds = 0.0
        self._epochs_here = 0
        self._start = self._epoch_start = time.monotonic()
        self._epoch_images = 0
        self._writers: dict[str, SummaryWriter] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        times = {"timed_images": self.timed_images, "timed_seconds": self.timed_seconds}
        return {"rows": self.rows, "seconds": self.seconds + time.monotonic() - self._start, **times}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of a resumed run."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the dashboard; steps that are repeated after a resume replace the old ones."""
        self._start = self._epoch_start = time.monotonic()  # a resume in mid-epoch starts no epoch
        if trainer.is_global_zero:
            purge = len(self.rows) + 1 if self.rows else None
            self._writers = {s: SummaryWriter(self.folder / "tensorboard" / s, purge_step=purge) for s in STAGES}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the training batches."""
        self._epoch_start, self._epoch_images = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count images; stop the clock after the last batch."""
        self._epoch_images += len(batch["target"]) * trainer.world_size
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            if self._epochs_here <= 1:  # the first epoch of a process warms up: counted only if it stays alone
                self.timed_images = self.timed_seconds = 0.0
            self.timed_images += self._epoch_images
            self.timed_seconds += time.monotonic() - self._epoch_start
            self._epochs_here += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of this epoch."""
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            **{name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name},
            **cast(CellClassifier, pl_module).figures,  # the same in full precision
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        self.write()
        for name, value in row.items():
            stage, _, metric = name.partition("/")
            if metric and value == value:  # both stages under one name: one chart shows both
                self._writers[stage].add_scalar(metric, value, row["epoch"])
        self._writers["train"].add_scalar("learning_rate", row["learning_rate"], row["epoch"])
        if trainer.progress_bar_callback is None:
            shown = [name for name in ("train/loss", "val/loss", "train/accuracy", "val/accuracy") if name in row]
            text = "  ".join(f"{name} {row[name]:.4f}" for name in shown)
            print(f"epoch {row['epoch']}/{trainer.max_epochs}  {text}", flush=True)

    def write(self) -> None:
        """Write `metrics.csv`, in one step."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: "" if v != v else v for n, v in row.items()} for row in self.rows)
        write_text(self.folder / "metrics.csv", text.getvalue())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, close the dashboard."""
        self.seconds += time.monotonic() - self._start
        for writer in self._writers.values():
            writer.close()


class Dashboard(Callback):
    """Pictures for TensorBoard: confusion matrix, augmented images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what the network is given."""
        if trainer.is_global_zero and trainer.current_epoch == 0:
            self._add("train", "training_images", figures.draw_training_sheet(data_of(trainer)), 0)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the confusion matrix of this epoch."""
        if trainer.is_global_zero and trainer.state.fn == "fit":
            model = cast(CellClassifier, pl_module)
            _, logits, targets = model.results["val"]
            matrix = confusion_matrix(logits, targets, len(model.classes))
            title = f"validation images, epoch {trainer.current_epoch + 1}"
            picture = figures.draw_confusion(matrix, model.classes, title)
            self._add("val", "confusion_matrix", picture, trainer.current_epoch + 1)

    def _add(self, stage: str, name: str, picture: Figure, step: int) -> None:
        with SummaryWriter(self.folder / "tensorboard" / stage) as writer:
            writer.add_image(name, torch.from_numpy(figures.pixels(picture)), step, dataformats="HWC")
