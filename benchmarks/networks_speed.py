"""Training images a second of each network: hemai's defaults against a bare timm loop in float32.

    python benchmarks/networks_speed.py [--pairs 3] [--batches 6] [--networks mobilenetv2 nasnet_mobile] [key=value ...]

Each pair is some batches of 32 synthetic cells at the network's own resolution: once through the Lightning Trainer with
hemai's defaults (metrics on, channels-last memory, the precision that this hardware is fastest with), once as plain
PyTorch in float32 and PyTorch's own memory layout, over images in memory. The first of each is a warm-up. Printed are
medians, the medians of the ratios of pairs, and on a GPU its peak memory. Settings such as
`trainer.precision=32-true` or `trainer.accelerator=cpu` are those of train.py.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from torch.nn.functional import cross_entropy
from training_speed import BATCH, Pairs

from hemai.runs.build import build_data, build_model
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder
from hemai.training import callbacks
from hemai.training.loggers import build_loggers
from hemai.training.trainer import build_trainer
from hemai.utils.terminal import quieten


def bare_loop(name: str, images: np.ndarray, targets: np.ndarray, device: torch.device) -> Callable[[], None]:
    """One pass over the images, as in a first script of a timm user."""
    network = timm.create_model(name, num_classes=2).train().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(targets)

    def batches() -> None:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            batch = pixels[indices].to(device).float().div_(255).sub_(0.5).div_(0.5)
            optimizer.zero_grad()
            cross_entropy(network(batch), labels[indices].to(device)).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return batches


def measure(model: str, pairs: int, batches: int, settings: list[str]) -> None:
    """Measure one network and print its line."""
    config = compose(
        [
            f"model={model}",
            f"trainer.max_epochs={pairs + 1}",
            f"trainer.limit_train_batches={batches}",
            "data.val_share=0",
            "monitor=null",
            "model.plateau=null",
            *settings,
        ]
    )
    data = build_data(config)
    data.setup()
    images = data.images("train")
    count = BATCH * batches
    with tempfile.TemporaryDirectory() as folder:
        clock = Pairs({}, count)
        run_callbacks = [
            clock,
            *callbacks.build_callbacks(RunFolder(Path(folder)), None, None, config.save_every_n_steps),
        ]
        trainer = build_trainer(config.trainer, run_callbacks, build_loggers(config.logger, Path(folder)), Path(folder))
        device = trainer.strategy.root_device
        rows = images.rows[:count]
        clock.rivals["bare"] = bare_loop(config.model.backbone, images.caches[0][rows], images.targets[:count], device)
        clock.rates["bare"] = []
        trainer.fit(build_model(config, data), data)
    ours, bare = (clock.rates[name][1:] for name in ("hemai", "bare"))
    ratios = [own / other for own, other in zip(ours, bare, strict=True)]
    memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GB" if device.type == "cuda" else ""
    print(
        f"{model} at {config.model.image_size} px, {config.trainer.precision}: hemai {statistics.median(ours):.1f}/s, "
        f"bare {statistics.median(bare):.1f}/s, ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}){memory}",
        flush=True,
    )


def main() -> None:
    """Measure every network."""
    quieten()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=6)
    known = ["custom_cnn", "mobilenetv2", "efficientnet_b0", "nasnet_mobile"]
    parser.add_argument("--networks", nargs="+", default=known, choices=known)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    for model in arguments.networks:
        measure(model, arguments.pairs, arguments.batches, arguments.settings)


if __name__ == "__main__":
    main()
