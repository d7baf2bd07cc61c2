"""Augmented training images a second and core, without a network: hemai's cache against loops that decode files.

    python benchmarks/input_speed.py C-NMC_FOLDER [--pairs 5] [--images 640]

Every round makes the same number of batches of 32 in each way, in turn, in one thread of one process, at 128 x 128 px;
all files are read once before, so that each finds them in the page cache. The recipes are those of `transform=flips`
and `transform=augmented`.

- torchvision: Pillow and transforms v2, as for an ImageFolder, with the transforms nearest to the recipe.
- albumentations: cv2.imread, and the recipe's own transforms after a Resize.
- cached: the recipe's own transforms by albumentations on hemai's prepared images.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from hemai.data.batches import CellImages
from hemai.runs.build import build_data
from hemai.settings.compose import compose
from hemai.utils.terminal import quieten

BATCH, SIZE = 32, 128
FLIPS = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
VISION = {
    "flips": FLIPS,
    "augmented": [*FLIPS, v2.RandomAffine(180, scale=(0.9, 1.1)), v2.ColorJitter(0.12, 0.2, 0.08, 0.02)],
}


def batches(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Full batches of indices."""
    return iter(numbers[: len(numbers) // BATCH * BATCH].reshape(-1, BATCH))


def ways(images: CellImages, files: Sequence[Path], recipe: str, augment: A.Compose) -> dict[str, Callable[[Any], Any]]:
    """Functions from indices to a batch, by name."""
    vision = v2.Compose([v2.ToImage(), v2.Resize((SIZE, SIZE), antialias=True), *VISION[recipe]])
    resize = A.Resize(SIZE, SIZE, interpolation=cv2.INTER_AREA)

    def torchvision(numbers: np.ndarray) -> torch.Tensor:
        return torch.stack([vision(Image.open(files[number]).convert("RGB")) for number in numbers])

    def albumentations(numbers: np.ndarray) -> np.ndarray:
        read = (cv2.cvtColor(cv2.imread(str(files[number])), cv2.COLOR_BGR2RGB) for number in numbers)
        return np.stack([augment(image=resize(image=image)["image"])["image"] for image in read])

    def cached(numbers: np.ndarray) -> np.ndarray:
        return np.stack([augment(image=images.caches[0][images.rows[number]])["image"] for number in numbers])

    def ours(numbers: np.ndarray) -> Any:
        return images[[(0, int(number)) for number in numbers]]

    return {"hemai": ours, "torchvision": torchvision, "albumentations": albumentations, "cached": cached}


def main() -> None:
    """Measure both recipes."""
    quieten()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=640)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for recipe in VISION:
        data = build_data(compose(["data=cnmc", f"data.root={arguments.root}", f"transform={recipe}"]))
        data.setup()
        cv2.setNumThreads(1)  # after the images are prepared
        images = data.images("train", augmented=True)
        files = [data.dataset.root / path for path in data.table["path"].iloc[data.rows["train"]]]
        numbers = np.random.default_rng(0).permutation(len(images))[: arguments.images]
        for number in numbers:
            files[number].read_bytes()
        rates: dict[str, list[float]] = {}
        for _ in range(arguments.pairs + 1):
            for name, make in ways(images, files, recipe, data.transform.augment).items():
                start = time.perf_counter()
                count = sum(len(each) for each in batches(numbers) if make(each) is not None)
                rates.setdefault(name, []).append(count / (time.perf_counter() - start))
        ours = rates.pop("hemai")[1:]
        print(f"{recipe}: hemai {statistics.median(ours):,.0f} images a second and core")
        for name, theirs in rates.items():
            ratios = [one / other for one, other in zip(ours, theirs[1:], strict=True)]
            print(
                f"{recipe}: {name} {statistics.median(theirs[1:]):,.0f}; ratio {statistics.median(ratios):.1f} "
                f"({min(ratios):.1f} to {max(ratios):.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
