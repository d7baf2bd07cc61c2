"""Images a second of `hemai export --format onnx` in onnxruntime against the same network in torch, on the CPU.

    python benchmarks/export_speed.py [--pairs 15] [--batch 32] [--size 128] [--threads 1] [--networks custom_cnn ...]

Random weights and images: the speed does not depend on them. torch runs as in `hemai predict`: channels-last memory,
inference mode, float32. Each pair is one batch of each, in turn; the first two are a warm-up. Printed are medians, and
the medians of the ratios of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from hemai.export.int8 import quantize
from hemai.export.onnx_file import onnx_content, onnx_outputs, start_session
from hemai.export.plain_network import PlainNetwork
from hemai.export.sample import Sample
from hemai.models.classifier import CellClassifier

WARM_UP = 2
SIZED = ("custom_cnn", "vit_tiny_patch16_224")  # networks that must know the size of their input


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Measure one network and print its line."""
    size = arguments.size
    model = CellClassifier(
        name, ["a", "b"], image_size=size, options={"img_size": size} if name in SIZED else {}
    ).eval()
    images = np.random.default_rng(0).integers(0, 256, (arguments.batch, size, size, 3), np.uint8)
    content = onnx_content(PlainNetwork(model).eval(), images, {})
    quantized, _ = quantize(content, Sample(images, "random images"))
    float32, int8 = (start_session(each, arguments.threads) for each in (content, quantized))

    def by_torch() -> None:
        with torch.inference_mode():
            model(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(dim=1)

    rivals: dict[str, Callable[[], object]] = {
        "torch": by_torch,
        "onnxruntime": lambda: onnx_outputs(float32, images, arguments.batch),
        "int8": lambda: onnx_outputs(int8, images, arguments.batch),
    }
    rates: dict[str, list[float]] = {rival: [] for rival in rivals}
    for _ in range(WARM_UP + arguments.pairs):
        for rival, run in rivals.items():
            start = time.perf_counter()
            run()
            rates[rival].append(arguments.batch / (time.perf_counter() - start))
    told = [f"torch {statistics.median(rates['torch'][WARM_UP:]):.0f}/s"]
    for rival in ("onnxruntime", "int8"):
        ratios = [own / other for own, other in zip(rates[rival], rates["torch"], strict=True)][WARM_UP:]
        told.append(
            f"{rival} {statistics.median(rates[rival][WARM_UP:]):.0f}/s, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(f"{name} at {size} px, batch {arguments.batch}: {'; '.join(told)}", flush=True)


def main() -> None:
    """Measure every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=["custom_cnn", "resnet10t", "mobilenetv2_100"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} thread(s)")
    for name in arguments.networks:
        measure(name, arguments)


if __name__ == "__main__":
    main()
