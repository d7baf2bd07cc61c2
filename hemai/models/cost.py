"""Model sizes: parameters, layers, multiply-adds, speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from hemai.models.lora import add_adapter, merge_adapters
from hemai.models.network import create_network, with_image_size
from hemai.settings.compose import CONFIGS, compose
from hemai.utils.device import find_device
from hemai.utils.errors import UserError
from hemai.utils.files import check_new_file, csv_text, output_errors, write_text
from hemai.utils.terminal import say, show_table, track

WARM_UP = 2  # batches that are not timed: the first ones allocate memory and choose kernels
REPETITIONS, SECONDS = 5, 1.0  # least number of timed batches and least time, in s
HEADINGS = {
    "network": "network",
    "input_px": "input,\npx",
    "trainable": "trainable\nparameters",
    "with_batchnorm": "with\nBatchNorm",
    "megabytes": "MB",
    "layers": "layers",
    "multiply_adds": "multiply-\nadds, M",
    "images_per_second": "images\na second",
}


def measure_networks(
    names: Sequence[str], classes: int = 1000, size: int | None = None, batch: int = 32, csv: Path | None = None
) -> pd.DataFrame:
    """Measure networks and print a table, one row for each.

    Args:
        names: Files of `configs/model/` or names of timm; empty: all of `configs/model/`.
        classes: Number of outputs; published networks have 1000.
        size: Height and width of the input in pixels; None: that of the configuration, or of the
            published network.
        batch: Images in a batch; affects the speed only.
        csv: New file for the table; None: no file.

    Returns:
        `network` (its backbone), `input_px` (height, and width if it differs), `trainable` (parameters),
        `with_batchnorm` (all parameters with the running means and variances of BatchNorm, the count of Keras
        and of the HEMAI report), `megabytes` (of the latter in float32, 1 MB = 1,000,000 bytes), `layers`,
        `multiply_adds`, `images_per_second`. See `count_layers`, `count_multiply_adds`, `measure_speed`.

    Raises:
        UserError: Unknown network, a size that it cannot take, or `csv` already exists or cannot be written.
    """
    if csv:
        check_new_file(csv, "--csv")
    created = [_create(name, classes, size) for name in dict.fromkeys(names or configured())]
    # Several configs start one network from different weights.
    networks = list({(each[0].split(".")[0], each[2], count_parameters(each[1])): each for each in created}.values())
    rows = [_row(*each, batch) for each in track(networks, "measuring", total=len(networks))]
    table = pd.DataFrame(rows, columns=list(HEADINGS))
    _print(table, classes, batch)
    if csv:
        with output_errors(csv, "--csv"):
            write_text(csv, csv_text(table))
    return table


def configured() -> list[str]:
    """Names of the files of `configs/model/`, except those that leave the backbone to the user."""
    files = sorted((CONFIGS / "model").glob("[!_]*.yaml"))
    return [file.stem for file in files if not OmegaConf.is_missing(OmegaConf.load(file), "backbone")]


def _create(name: str, classes: int, size: int | None) -> tuple[str, nn.Module, tuple[int, int]]:
    """Name of the backbone, network, and (height, width) of its input."""
    if name in configured():
        config = compose([f"model={name}", *([f"model.image_size={size}"] if size else [])])
        model: Any = OmegaConf.to_container(config.model, resolve=True)
        options = with_image_size(model["backbone"], model["options"] or {}, model["image_size"])
        network = create_network(model["backbone"], classes, pretrained=False, options=options)
        add_adapter(network, model["adapter"])
        return model["backbone"], network, (model["image_size"], model["image_size"])
    published = timm.get_pretrained_cfg(name)
    height, width = (size, size) if size else published.input_size[1:] if published else (224, 224)
    options = with_image_size(name, {}, size)
    return name, create_network(name, classes, pretrained=False, options=options), (height, width)


def _row(name: str, network: nn.Module, size: tuple[int, int], batch: int) -> dict[str, Any]:
    trainable, with_batchnorm = count_parameters(network)
    merge_adapters(network.eval())  # as for inference
    try:
        multiply_adds = count_multiply_adds(network, size)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"{name} cannot take images of {size[0]} x {size[1]} px ({error}); change --size") from error
    return {
        "network": name,
        "input_px": size[0] if size[0] == size[1] else f"{size[0]} x {size[1]}",
        "trainable": trainable,
        "with_batchnorm": with_batchnorm,
        "megabytes": with_batchnorm * 4 / 1e6,
        "layers": count_layers(network),
        "multiply_adds": multiply_adds,
        "images_per_second": measure_speed(network, size, batch),
    }


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Number of trainable parameters, and of all with BatchNorm's running means and variances (not its counter)."""
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    statistics_ = ("running_mean", "running_var")
    running = sum(b.numel() for name, b in network.named_buffers() if name.rpartition(".")[2] in statistics_)
    return trainable, sum(parameter.numel() for parameter in network.parameters()) + running


def count_layers(network: nn.Module) -> int:
    """Number of convolutions and linear layers; both parts of a separable or squeeze-and-excitation pair count.

    The 50 of ResNet-50 are counted like this, but without its 4 convolutional shortcuts: here it has 54. Keras adds
    BatchNorm, activations, poolings and additions, whose number depends on how a network is written down.
    """
    return sum(isinstance(layer, (_ConvNd, nn.Linear)) for layer in network.modules())


def count_multiply_adds(network: nn.Module, size: tuple[int, int]) -> int:
    """Number of multiply-adds of one image in convolutions and matrix products.

    Biases, BatchNorm, activations and pooling are left out, as in published counts; many papers call them "FLOPs",
    others count two FLOPs for each.

    Args:
        network: Network in eval mode.
        size: Height and width of the input in pixels.
    """
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size))
    return int(counter.get_total_flops()) // 2


def measure_speed(network: nn.Module, size: tuple[int, int], batch: int) -> float:
    """Images per second: inference in float32, channels last, on the GPU if there is one; median over batches.

    Convolutions on a GPU may round to TF32, which PyTorch allows by default.
    """
    device = find_device()
    network.to(device).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, *size, device=device).to(memory_format=torch.channels_last)
    seconds: list[float] = []
    with torch.inference_mode():
        while len(seconds) < WARM_UP + REPETITIONS or sum(seconds[WARM_UP:]) < SECONDS:
            start = time.perf_counter()
            network(images)
            if device.type != "cpu":
                torch.accelerator.synchronize()
            seconds.append(time.perf_counter() - start)
    network.cpu()  # frees memory of the GPU for the next one
    return batch / statistics.median(seconds[WARM_UP:])


def _print(table: pd.DataFrame, classes: int, batch: int) -> None:
    rows = [
        (
            row["network"],
            str(row["input_px"]),
            f"{row['trainable']:,}",
            f"{row['with_batchnorm']:,}",
            f"{row['megabytes']:,.1f}",
            f"{row['layers']:,}",
            f"{row['multiply_adds'] / 1e6:,.1f}",
            f"{row['images_per_second']:,.0f}",
        )
        for row in table.to_dict("records")
    ]
    show_table(pd.DataFrame(rows, columns=list(HEADINGS.values())), f"networks with {classes:,} classes")
    device, threads = find_device().type, torch.get_num_threads()
    if device == "cpu":
        device = f"the CPU, {threads} thread{'s' * (threads > 1)}"
    elif device == "cuda":
        device = torch.cuda.get_device_name()
    say(
        "with BatchNorm: parameters, running means and variances; MB: these in float32, 1 MB = 1,000,000 bytes",
        "layers: convolutions and linear layers; multiply-adds: of one image, in millions",
        f"images a second: inference on {device}, float32, batches of {batch}, median",
    )
