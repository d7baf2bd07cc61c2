"""The LightningModule of every network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from timm.scheduler.scheduler import Scheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hemai.data.batches import Batch, split_of
from hemai.evaluation.metrics import compute_metrics
from hemai.models.checks import check_classes, check_data
from hemai.models.compilation import compile_network
from hemai.models.logit_buffer import LogitBuffer, Logits
from hemai.models.lora import add_adapter
from hemai.models.loss import Loss, check_class_weights
from hemai.models.network import Normalize, flips_and_rotations
from hemai.models.optimization import (
    check_freezing,
    check_optimization,
    create_callbacks,
    create_plateau,
    create_trainer_optimizer,
    create_trainer_schedule,
)
from hemai.models.start import create_start
from hemai.settings.upgrade import FORMAT, upgrade_checkpoint
from hemai.utils.errors import UserError, check_fraction, check_whole


class CellClassifier(pl.LightningModule):
    """A network of timm (or `hemai.models`) that classifies plain uint8 RGB images of cells, for any Lightning Trainer.

    Batches are mappings of `image`, `target` and `index`, as of `hemai.data.CellDataModule`. All arguments are plain
    data: they are stored in the checkpoint, which loads with `weights_only=True` and needs nothing else.

    Args:
        backbone: A name of `timm.list_models()`, or `hf-hub:OWNER/NAME` or `local-dir:FOLDER`, of which the
            hyperparameters keep the plain name and options.
        classes, positive: See `hemai.data.dataset.CellDataset`.
        image_size: Height and width of the input in pixels.
        pretrained: Start from the published weights of the backbone (those of timm or the hub need network access).
        weights: File to start from instead, or `hf-hub:...`, `local-dir:...`; see `hemai.models.weights.load_weights`.
        options: Further arguments of the network; `img_size` follows from `image_size` where timm needs it.
        mean, sd: Pixel mean and standard deviation (0..1); None: what the network expects, see `hemai.models.network`.
        optimizer: Arguments of `timm.optim.create_optimizer_v2`; None: Adam with a rate of 3e-4.
        plateau: Arguments of `torch.optim.lr_scheduler.ReduceLROnPlateau`, on `val/loss`, or None.
        schedule: Arguments of `hemai.models.optimization.create_schedule`, or None: a constant rate.
        freeze: "backbone": train only the classifier in the first `freeze_epochs` epochs; None: freeze nothing.
        freeze_epochs: Number of epochs; see `freeze`.
        freeze_statistics: Keep the initial running statistics of BatchNorm.
        average_weights: Decay of a moving average of the weights, which is validated, saved and tested; None: none.
        test_time_augmentation: Average the logits over the eight flips and rotations of an image, except in training.
        loss: `name`, one of `hemai.models.loss.LOSSES`, and its settings; None: cross-entropy.
        class_weights: Class weights of the training loss; None: equal. See `hemai.models.loss.balanced_class_weights`.
        label_smoothing: Label smoothing of the training loss, 0..1.
        seed: Seed of dropout, combined with step and device.
        metadata: Provenance stored in the checkpoint: data set, split, prepare list, versions.
        adapter: Train low-rank adapters and the classifier alone, see `hemai.models.lora.add_adapter`; None: all.
        compile: Train with the kernels of `torch.compile`; evaluation never uses them.
        source: `licence`, `citation` and training `images` of published weights, for the metadata.

    Attributes:
        evaluated: Logits of the last pass over each split, by its name ("train", "val", "test", ...).

    Raises:
        UserError: Unknown network, weights that do not fit it, wrong classes, or a setting out of range.
    """

    def __init__(
        self,
        backbone: str,
        classes: Sequence[str],
        positive: Sequence[str] = (),
        image_size: int = 128,
        pretrained: bool = False,
        weights: str | None = None,
        options: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        sd: Sequence[float] | None = None,
        optimizer: dict[str, Any] | None = None,
        plateau: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        freeze: str | None = None,
        freeze_epochs: int = 1,
        freeze_statistics: bool = False,
        average_weights: float | None = None,
        test_time_augmentation: bool = False,
        loss: dict[str, Any] | None = None,
        class_weights: Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        compile: bool = False,
        source: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        check_whole("model.image_size", image_size, 1)
        check_whole("model.seed", seed, 0)
        check_fraction("model.average_weights", 0 if average_weights is None else average_weights)
        check_classes(classes, positive)
        classes, positive = list(classes), list(positive)
        check_class_weights(class_weights, classes)
        start = create_start(backbone, len(classes), image_size, pretrained, weights, options, mean, sd, source)
        network, backbone, options, mean, sd = start.network, start.backbone, start.options, start.mean, start.sd
        add_adapter(network, adapter)
        optimizer = optimizer or {"opt": "adam", "lr": 3e-4}
        check_optimization(network, optimizer, plateau, schedule)
        check_freezing(network, freeze, freeze_epochs)
        metadata = {**start.metadata, **(metadata or {})}
        self.save_hyperparameters(ignore=["weights", "pretrained", "source"])  # a checkpoint holds its own weights
        self.classes, self.positive, self.backbone, self.scale = classes, positive, network, Normalize(mean, sd)
        self.to(memory_format=torch.channels_last)  # faster convolutions; channels lie side by side, as on disk
        self.loss = Loss(loss or "cross_entropy", class_weights, label_smoothing)
        self.example_input_array = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)  # for the summary
        self.plateau: ReduceLROnPlateau | None = None
        self.schedule: Scheduler | None = None
        self._resumed_plateau: dict[str, Any] | None = None
        self._compiled: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._training = LogitBuffer()
        self._evaluation: dict[str, LogitBuffer] = {}  # by split
        self.evaluated: dict[str, Logits] = {}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, float (B, classes), of RGB images, uint8 or float (B, 3, height, width), 0..255."""
        is_augmented = self.hparams["test_time_augmentation"] and not self.training
        views = flips_and_rotations(image) if is_augmented else [image]
        network = self._compiled if self._compiled and self.training else self.backbone
        return torch.stack([network(self.scale(view)) for view in views]).mean(dim=0)

    def setup(self, stage: str) -> None:
        """Compare the classifier with the data module, before training or testing."""
        check_data(self, self.hparams, getattr(self.trainer, "datamodule", None))

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks that follow from the hyperparameters, so that every Trainer freezes and averages alike."""
        return create_callbacks(self.hparams)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; the plateau schedule is stepped in `on_validation_epoch_end`."""
        optimizer = create_trainer_optimizer(self.trainer, self.backbone, self.hparams["optimizer"])
        # Lightning does not save the step of a plateau that it drives, so a resumed run would differ.
        self.plateau = create_plateau(optimizer, self.hparams["plateau"])
        return optimizer

    def on_train_start(self) -> None:
        """Create the schedule for this training; restore the state of the plateau schedule of a resumed run."""
        if isinstance(self.hparams["class_weights"], str):  # in a checkpoint of an earlier version
            raise UserError("class_weights=balanced: pass numbers, see balanced_class_weights(data.class_counts())")
        self._compiled = compile_network(self.backbone) if self.hparams["compile"] else None
        self.schedule = create_trainer_schedule(self.trainer, self.hparams["schedule"])
        if self.plateau is not None and self._resumed_plateau and self.trainer.ckpt_path:
            self.plateau.load_state_dict(self._resumed_plateau)
        self._resumed_plateau = None  # another training starts its own

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set learning rate and dropout seed from the step alone, so that resuming changes nothing."""
        if batch_idx == 0:  # Lightning starts no new epoch if it resumes after the last batch of an epoch
            self._training = LogitBuffer()
        if self.schedule is not None:
            self.schedule.step_update(self.global_step)
        step = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        state = np.random.SeedSequence((self.hparams["seed"], step, self.global_rank)).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        logits = self(batch["image"])
        self._training.add(batch["index"], logits, batch["target"])
        loss: torch.Tensor = self.loss(logits, batch["target"])
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training images, each as the network saw it in this epoch, and the learning rate."""
        metrics = self._log_metrics("train", self._training)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        if not np.isfinite(metrics["loss"]):
            raise UserError(
                f"the training loss is {metrics['loss']} after epoch {self.current_epoch}; "
                "lower model.optimizer.lr, clip gradients or train with trainer.precision=32-true"
            )

    def _forward_float32(self, batch: Batch) -> torch.Tensor:
        with torch.autocast(self.device.type, enabled=False):  # metrics are always those of float32
            logits: torch.Tensor = self(batch["image"])
        return logits

    def _store(self, batch: Batch, kind: str, dataloader_idx: int) -> None:
        split = split_of(getattr(self.trainer, f"{kind}_dataloaders"), dataloader_idx, kind)
        buffer = self._evaluation.setdefault(split, LogitBuffer())
        buffer.add(batch["index"], self._forward_float32(batch), batch["target"])

    def on_validation_epoch_start(self) -> None:
        """Empty the buffers of logits."""
        self._evaluation = {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Store the logits of a batch, computed in float32."""
        self._store(batch, "val", dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all validation images; then step the plateau schedule."""
        metrics = [self._log_metrics(split, buffer) for split, buffer in self._evaluation.items()]
        if self.plateau and metrics and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.plateau.step(metrics[0]["loss"])

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Store the logits of a batch, computed in float32."""
        self._store(batch, "test", dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all images of each test set."""
        for split, buffer in self._evaluation.items():
            self._log_metrics(split, buffer)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, torch.Tensor]:
        """Predict a batch in float32: `index`, int64 (B,); `logits` and `probabilities`, float (B, classes)."""
        logits = self._forward_float32(batch)
        return {"index": batch["index"], "logits": logits, "probabilities": logits.softmax(dim=1)}

    def _log_metrics(self, split: str, buffer: LogitBuffer) -> dict[str, float]:
        """Compute the metrics on every image once, alike on all devices, and log them; NaN if undefined."""
        self.evaluated[split] = logits = buffer.gather(self.trainer)
        metrics = compute_metrics(logits.logits, logits.targets, self.classes, self.positive)
        for name, value in metrics.items():
            self.log(f"{split}/{name}", value, prog_bar=name in ("loss", "accuracy"))
        return metrics

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs beyond Lightning's own state."""
        checkpoint["hemai_format"] = FORMAT
        checkpoint["plateau"] = self.plateau.state_dict() if self.plateau else None
        checkpoint["train_figures"] = self._training.local()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of a resumed run."""
        if upgrade_checkpoint(checkpoint):
            self.hparams["metadata"] = checkpoint["hyper_parameters"]["metadata"]
        self._resumed_plateau = checkpoint["plateau"]
        if checkpoint.get("train_figures"):
            self._training.add(*checkpoint["train_figures"])
