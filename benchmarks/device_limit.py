"""Training images a second with real input against one constant batch kept on the device, eager and compiled.

    python benchmarks/device_limit.py C-NMC_FOLDER [--networks custom_cnn ...] [--batch-sizes 32 256] [--pairs 5]
        [--batches 40] [--compile] [key=value ...]

Each pair is some batches through the Lightning Trainer (metrics and augmentation on), and as many steps of a bare loop
on one batch that already lies on the device, in the same precision and memory layout, never compiled. The first pair is
a warm-up, in which a compiled network is compiled; its time is printed. Runs on a CPU and on a GPU; settings such as
`trainer.precision=bf16-mixed` are those of train.py.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.functional import cross_entropy
from training_speed import Pairs

from hemai.runs.build import build_data, build_model
from hemai.settings.compose import compose
from hemai.training.trainer import build_trainer
from hemai.utils.memory import keep_freed_memory
from hemai.utils.terminal import quieten

NETWORKS = ("custom_cnn", "mobilenetv2", "efficientnet_b0", "nasnet_mobile")


class Timed(Pairs):
    """Pairs, on a device that computes while Python goes on; keeps the time of the first pass."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock when the device is idle."""
        _wait(trainer.strategy.root_device)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, *others: Any) -> None:
        """Stop it when the device has finished."""
        if trainer.is_last_batch:
            _wait(trainer.strategy.root_device)
        super().on_train_batch_end(trainer, *others)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def constant_loop(model: Any, images: torch.Tensor, steps: int, precision: str) -> Callable[[], None]:
    """Steps on one batch that lies on the device."""
    network, device = model.backbone.train(), images.device
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6, fused=True)
    targets = torch.zeros(len(images), dtype=torch.long, device=device)
    dtype = torch.float16 if precision.startswith("16") else torch.bfloat16

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled="mixed" in precision):
                loss = cross_entropy(network(model.scale(images)), targets)
            loss.backward()
            optimizer.step()
        _wait(device)

    return run


def measure(root: Path, network: str, batch_size: int, compiled: bool, given: argparse.Namespace) -> None:
    """Measure one setting, and print its line."""
    settings = [f"data.root={root}", f"model={network}", f"data.batch_size={batch_size}", f"model.compile={compiled}"]
    settings += ["data=cnmc", "data.split=image", "data.val_share=0", "monitor=null", "model.plateau=null"]
    settings += [f"trainer.max_epochs={given.pairs + 1}", f"trainer.limit_train_batches={given.batches}"]
    config = compose([*settings, *given.settings])
    data = build_data(config)
    data.setup()
    steps = min(given.batches, len(data.train_dataloader()))
    clock = Timed({}, steps * batch_size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config.trainer, [clock], [], Path(folder))
        device = trainer.strategy.root_device
        batch = next(iter(data.train_dataloader()))["image"].to(device)
        rival = build_model(config, data).to(device)
        clock.rivals["constant"] = constant_loop(rival, batch, steps, str(config.trainer.precision))
        clock.rates["constant"] = []
        start = time.perf_counter()
        trainer.fit(build_model(config, data), data)
    print(f"{time.perf_counter() - start:.0f} s in all", end="; ")
    ours, constant = clock.rates["hemai"], clock.rates["constant"]
    ratios = [own / other for own, other in zip(ours[1:], constant[1:], strict=True)]
    kind = "compiled" if compiled else "eager"
    print(
        f"{network}, batches of {batch_size}, {kind}, {config.trainer.precision} on {device}: "
        f"hemai {statistics.median(ours[1:]):,.1f}/s, constant {statistics.median(constant[1:]):,.1f}/s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"first {steps} batches {steps * batch_size / ours[0]:.0f} s",
        flush=True,
    )


def main() -> None:
    """Measure every setting."""
    quieten()
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--compile", action="store_true", help="compiled too, not eager alone")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    given = parser.parse_args()
    for network in given.networks:
        for batch_size in given.batch_sizes:
            for compiled in (False, True)[: 1 + given.compile]:
                measure(given.root, network, batch_size, compiled, given)


if __name__ == "__main__":
    main()
