"""A callback of one's own."""

import pytorch_lightning as pl


class StopWhenPerfect(pl.Callback):
    """Stop training when no validation image is wrong any more."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the accuracy."""
        trainer.should_stop |= bool(trainer.callback_metrics.get("val/accuracy", 0) == 1)
