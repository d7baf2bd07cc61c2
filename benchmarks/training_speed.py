"""Training images a second: hemai against the report's own loop and against a bare loop.

    python benchmarks/training_speed.py C-NMC_FOLDER [--pairs 5] [--only plain/bf16-mixed]

Each pair is one epoch of hemai (through the Lightning Trainer, metrics on) and one epoch of each rival,
in turn, in one process, on the same training images of C-NMC, with the custom CNN at 128 x 128 and
batches of 32; the first epoch is a warm-up. Printed are medians, and the medians of the ratios of pairs.

- report: ImageFolder, Resize, ToTensor, Normalize, DataLoader, plain PyTorch in float32, at the best of
  0, 1 and 2 workers, found before the first pair.
- bare: plain PyTorch over the prepared images in memory, in hemai's precision and memory layout, without augmentation.

Freed memory is kept by all of them, which `benchmarks/freed_memory.py` measures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import timm
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hemai.runs.build import build_data, build_model
from hemai.settings.compose import best_precision, compose
from hemai.settings.run_folder import RunFolder
from hemai.training import callbacks
from hemai.training.loggers import build_loggers
from hemai.training.trainer import build_trainer
from hemai.utils.memory import keep_freed_memory
from hemai.utils.terminal import quieten

BATCH = 32


class Files(Dataset[tuple[torch.Tensor, int]]):
    """Same as torchvision's ImageFolder, for a list of files."""

    def __init__(self, files: list[Path], targets: np.ndarray) -> None:
        self.files, self.targets = files, targets
        self.transform = transforms.Compose(
            [transforms.Resize((128, 128)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB")), int(self.targets[index])


def report_loop(files: list[Path], targets: np.ndarray, workers: int) -> Callable[[], None]:
    """One epoch of the report's loop."""
    network = timm.create_model("custom_cnn", num_classes=2).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    loader = DataLoader(Files(files, targets), BATCH, shuffle=True, num_workers=workers)

    def epoch() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            optimizer.step()

    return epoch


def bare_loop(images: np.ndarray, targets: np.ndarray, precision: str) -> Callable[[], None]:
    """One epoch over prepared images in memory."""
    network = timm.create_model("custom_cnn", num_classes=2).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    pixels, labels = torch.from_numpy(images), torch.from_numpy(targets)

    def epoch() -> None:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            batch = pixels[indices].permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                loss = cross_entropy(network(batch), labels[indices])
            loss.backward()
            optimizer.step()

    return epoch


class Pairs(Callback):
    """Time the training batches of each epoch, then an epoch of each rival."""

    def __init__(self, rivals: dict[str, Callable[[], None]], images: int) -> None:
        self.rivals, self.images = rivals, images
        self.rates: dict[str, list[float]] = {name: [] for name in ("hemai", *rivals)}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_last_batch:
            self.rates["hemai"].append(self.images / (time.perf_counter() - self.start))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, epoch in self.rivals.items():
            start = time.perf_counter()
            epoch()
            self.rates[name].append(self.images / (time.perf_counter() - start))


def measure(root: Path, transform: str, precision: str, pairs: int, workers: int, folder: Path) -> None:
    """Run the pairs of one setting, and print a line for each rival."""
    config = compose(
        [
            "data=cnmc",
            f"data.root={root}",
            "data.split=image",
            f"transform={transform}",
            "trainer.accelerator=cpu",
            f"trainer.precision={precision}",
            f"trainer.max_epochs={pairs + 1}",
        ]
    )
    data = build_data(config)
    data.setup()
    images = data.images("train")
    files = [data.dataset.root / path for path in data.table["path"].iloc[data.rows["train"]]]
    rivals = {"bare": bare_loop(images.caches[0][images.rows], images.targets, precision)}
    if transform == "plain":
        rivals["report"] = report_loop(files, images.targets, workers)
    clock = Pairs(rivals, len(images))
    run_callbacks = [
        clock,
        *callbacks.build_callbacks(RunFolder(folder), config.monitor, None, config.save_every_n_steps),
    ]
    build_trainer(config.trainer, run_callbacks, build_loggers(config.logger, folder), folder).fit(
        build_model(config, data), data
    )
    hemai = clock.rates.pop("hemai")[1:]
    for name, rates in clock.rates.items():
        ratios = [ours / theirs for ours, theirs in zip(hemai, rates[1:], strict=True)]
        print(
            f"{transform:10} {precision:11} hemai {statistics.median(hemai):6.0f}/s  {name} "
            f"{statistics.median(rates[1:]):6.0f}/s  ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def best_workers(root: Path) -> int:
    """Number of workers with which the report's loop is fastest on this machine."""
    data = build_data(compose(["data=cnmc", f"data.root={root}", "data.split=image"]))
    data.setup()
    rows = data.rows["train"][:640]
    files = [data.dataset.root / path for path in data.table["path"].iloc[rows]]
    seconds = {}
    for workers in (0, 1, 2):
        epoch = report_loop(files, data.targets[rows], workers)
        epoch()
        start = time.perf_counter()
        epoch()
        seconds[workers] = time.perf_counter() - start
    print("report's loop:", {n: f"{len(files) / s:.0f}/s with {n} workers" for n, s in seconds.items()}, flush=True)
    return min(seconds, key=lambda workers: seconds[workers])


def main() -> None:
    """Measure every setting."""
    import tempfile

    quieten()
    keep_freed_memory()  # as train.py does; here for the rivals too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", help="one setting, such as plain/32-true")
    arguments = parser.parse_args()
    default = best_precision("cpu")
    print(f"default precision here: {default}; {torch.get_num_threads()} threads")
    settings = [("plain", default), ("plain", "32-true"), ("flips", default), ("augmented", default)]
    settings = [s for s in dict.fromkeys(settings) if arguments.only in (None, "/".join(s))]
    workers = best_workers(arguments.root) if any(transform == "plain" for transform, _ in settings) else 0
    for transform, precision in settings:
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments.root, transform, precision, arguments.pairs, workers, Path(folder))


if __name__ == "__main__":
    main()
