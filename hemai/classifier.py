"""The LightningModule of every network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn.functional import cross_entropy

from hemai.data.cell_images import Batch
from hemai.data.datamodule import CellDataModule
from hemai.errors import UserError
from hemai.gathered import Gathered
from hemai.metrics import compute_figures
from hemai.models import freezing
from hemai.models.class_weights import check_class_weights, weigh_classes
from hemai.models.network import Scale, create_network, expected_scaling, turns_and_mirrors
from hemai.models.optimization import create_optimizer, create_plateau, create_schedule
from hemai.models.weights import load_weights


class CellClassifier(pl.LightningModule):
    """A network of timm (or `hemai.models`) that classifies plain uint8 RGB images of cells.

    All arguments are plain data: they are stored in the checkpoint, which loads with
    `weights_only=True` and needs nothing else.

    Args:
        backbone: A name of `timm.list_models()`.
        classes, positive: See `hemai.data.dataset.CellDataset`.
        image_size: Height and width of the input in pixels.
        pretrained: Start from the published weights of timm (needs network access).
        weights: Start from this file, and not from those of timm; see `hemai.models.weights.load_weights`.
        options: Further arguments of the network.
        mean, sd: Of the pixels (0..1); None: what the network expects, see `hemai.models.network`.
        optimizer: Arguments of `timm.optim.create_optimizer_v2`.
        plateau: Arguments of `torch.optim.lr_scheduler.ReduceLROnPlateau`, on `val/loss`, or None.
        schedule: Arguments of `hemai.models.optimization.create_schedule`, or None: a constant rate.
        freeze: "backbone": the classifier alone is trained in the first `freeze_epochs`; None: nothing.
        freeze_epochs: See `freeze`.
        freeze_statistics: BatchNorm keeps the statistics that it started with.
        average_weights: Decay of an exponential moving average of the weights, which is then what is
            validated, kept and tested; None: the weights themselves.
        test_time_augmentation: Logits are the mean over the image's eight turns and mirror images, in validation and
            test and wherever the checkpoint is used.
        class_weights: Weights of the classes in the training loss; "balanced": inversely
            proportional to their training images; None: equal.
        label_smoothing: Of the training loss, 0..1.
        seed: Of dropout, with step and device.
        facts: What the checkpoint tells of its making: data set, split, prepare list, versions.

    Raises:
        UserError: Unknown network, or weights that do not fit it.
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
        optimizer: dict[str, Any] = {"opt": "adam", "lr": 3e-4},  # noqa: B006  never changed
        plateau: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        freeze: str | None = None,
        freeze_epochs: int = 1,
        freeze_statistics: bool = False,
        average_weights: float | None = None,
        test_time_augmentation: bool = False,
        class_weights: Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        facts = {"weights": weights, "pretrained": pretrained, **(facts or {})}
        # A checkpoint holds its own weights: those that it started from are not read again.
        self.save_hyperparameters(ignore=["weights", "pretrained"])
        self.classes, self.positive = list(classes), list(positive)
        self.backbone = create_network(backbone, len(self.classes), pretrained and not weights, options or {})
        self.hparams["mean"], self.hparams["sd"] = expected_scaling(self.backbone, mean, sd)
        self.scale = Scale(self.hparams["mean"], self.hparams["sd"])
        if weights:
            self.hparams["facts"]["start"] = str(load_weights(self.backbone, Path(weights)))
        # Convolutions run faster where the channels of a pixel lie side by side, as on disk.
        self.to(memory_format=torch.channels_last)
        check_class_weights(class_weights, self.classes)
        self.class_weights: torch.Tensor | None = None  # a buffer would come too late for the average of the weights
        # A wrong setting is found now, before anything is written.
        self.plateau = create_plateau(create_optimizer(self.backbone, optimizer), plateau)
        self.schedule = create_schedule(create_optimizer(self.backbone, optimizer), schedule, 100, 100)
        if plateau and schedule:
            raise UserError("model.plateau and model.schedule both set the learning rate; set one of them to null")
        if freeze not in (None, "backbone"):
            raise UserError(f"model.freeze={freeze}: expected backbone, or null for nothing")
        self.frozen = list(freezing.backbone_parameters(self.backbone)) if freeze else []
        self.example_input_array = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)  # for the summary
        self._resumed_plateau: dict[str, Any] | None = None
        self.gathered = {"train": Gathered()}
        self.stage = "val"  # which images the evaluation loop runs over
        self.results: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self.figures: dict[str, float] = {}  # <stage>/<figure>, of the last pass over each stage

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, float (B, classes), of RGB images, uint8 or float (B, 3, height, width), 0..255."""
        several = self.hparams["test_time_augmentation"] and not self.training
        views = turns_and_mirrors(image) if several else [image]
        return torch.stack([self.backbone(self.scale(view)) for view in views]).mean(dim=0)

    # ------------------------------------------------------------------ training

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; the plateau schedule is stepped in `on_validation_epoch_end`."""
        optimizer = create_optimizer(self.backbone, self.hparams["optimizer"])
        # Lightning does not save the step of a plateau that it drives, so a resumed run would differ.
        self.plateau = create_plateau(optimizer, self.hparams["plateau"])
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Forget the figures of the last epoch."""
        self.gathered["train"] = Gathered()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set what depends on the step alone, so that a resume changes nothing: rate, frozen part, dropout."""
        if self.schedule is not None:
            self.schedule.step_update(self.global_step)
        is_frozen = bool(self.frozen) and self.current_epoch < self.hparams["freeze_epochs"]
        for parameter in self.frozen:
            # Several devices agreed at the start on the gradients that they average: those are dropped below.
            parameter.requires_grad_(not is_frozen or self.trainer.world_size > 1)
        if self.frozen or self.hparams["freeze_statistics"]:
            freezing.keep_statistics(self.backbone, is_frozen or self.hparams["freeze_statistics"])
        step = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        state = np.random.SeedSequence((self.hparams["seed"], step, self.global_rank)).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let no frozen weight move."""
        if self.current_epoch < self.hparams["freeze_epochs"]:
            for parameter in self.frozen:
                parameter.grad = None

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch."""
        logits = self(batch["image"])
        self.gathered["train"].add(batch["index"], logits, batch["target"])
        smoothing = self.hparams["label_smoothing"]
        return cross_entropy(logits, batch["target"], self.class_weights, label_smoothing=smoothing)

    def on_train_epoch_end(self) -> None:
        """Figures of the training images, each as the network saw it in this epoch."""
        figures = self._log_figures("train", self.gathered["train"])
        if not np.isfinite(figures["loss"]):
            raise UserError(
                f"the training loss is {figures['loss']} after epoch {self.current_epoch}; "
                "lower model.optimizer.lr, clip gradients or train with trainer.precision=32-true"
            )

    # ------------------------------------------------------------------ evaluation

    def _start_evaluation(self) -> None:
        self.gathered[self.stage] = Gathered()

    def _evaluation_step(self, batch: Batch) -> None:
        with torch.autocast(self.device.type, enabled=False):  # figures are those of float32
            self.gathered[self.stage].add(batch["index"], self(batch["image"]), batch["target"])

    def on_validation_epoch_start(self) -> None:
        """Start an empty pass."""
        self.stage = "val"
        self._start_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of a batch, computed in float32."""
        self._evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Figures of all validation images; then the plateau schedule."""
        figures = self._log_figures("val", self.gathered.pop("val"))
        if self.plateau is not None and self.trainer.state.fn == "fit":
            self.plateau.step(figures["loss"])

    def on_test_epoch_start(self) -> None:
        """Start an empty pass over the images of `stage`."""
        self._start_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of a batch, computed in float32."""
        self._evaluation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Figures of all images of `stage`."""
        self._log_figures(self.stage, self.gathered.pop(self.stage))

    def _log_figures(self, stage: str, gathered: Gathered) -> dict[str, float]:
        """Gather every image exactly once from all devices, compute the figures, log them.

        The devices hold the same logits afterwards, so all compute the same figures, and a callback
        finds them on each.
        """
        local = gathered.local()
        index, logits, targets = local
        if self.trainer.world_size > 1:
            index, logits, targets = (cast(torch.Tensor, self.all_gather(t)).flatten(0, 1) for t in local)
        _, once = np.unique(index.cpu().numpy(), return_index=True)
        index, logits, targets = (tensor.cpu()[once] for tensor in (index, logits, targets))
        self.results[stage] = (index, logits, targets)
        figures = compute_figures(logits, targets, self.classes, self.positive)
        named = {f"{stage}/{name}": value for name, value in figures.items()}
        self.figures |= named
        for name, value in named.items():  # for callbacks that monitor; Lightning rounds to float32
            self.log(name, value, prog_bar=name.endswith(("/loss", "/accuracy")))
        return figures

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs beyond Lightning's own state."""
        checkpoint["plateau"] = self.plateau.state_dict() if self.plateau else None
        checkpoint["train_figures"] = self.gathered["train"].local()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the state of a resumed run."""
        self._resumed_plateau = checkpoint["plateau"]
        if checkpoint.get("train_figures"):
            self.gathered["train"].add(*checkpoint["train_figures"])

    def on_train_start(self) -> None:
        """Make class weights and schedule, for this training; restore the plateau, made before its state is read."""
        counts = data_of(self.trainer).class_counts()
        self.class_weights = weigh_classes(self.hparams["class_weights"], counts, self.device)
        steps = -(-int(self.trainer.num_training_batches) // self.trainer.accumulate_grad_batches)
        optimizer = self.trainer.optimizers[0]
        self.schedule = create_schedule(optimizer, self.hparams["schedule"], self.trainer.max_epochs or 1, steps)
        if self.plateau is not None and self._resumed_plateau:
            self.plateau.load_state_dict(self._resumed_plateau)


def data_of(trainer: pl.Trainer) -> CellDataModule:
    """The data module of a trainer that has one."""
    return cast(CellDataModule, trainer.datamodule)  # type: ignore[attr-defined]
