"""Images per second of `hemai predict`, against a plain loop and against decoding alone.

    python benchmarks/predict_speed.py RUN_FOLDER IMAGES [--images 1500] [--threads 2] [--rounds 5]

The plain loop opens an image with Pillow, resizes it with torchvision and predicts it alone, in float32. Decoding alone
is cv2.imread and cv2.resize in so many threads, without a network. Each round runs all three, in turn, in one process;
hemai also writes the table of predictions. All files are read once before, so that each finds them in the page cache.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import torch
from PIL import Image
from torchvision.transforms import v2

from hemai.data.image_list import ImageList, list_images
from hemai.runs.processes import Processes
from hemai.runs.saved_run import SavedRun
from hemai.runs.streaming import stream_predictions


def predict(run: SavedRun, images: ImageList) -> None:
    """Predict as the command does, from the list of images to the table."""
    with tempfile.TemporaryDirectory() as folder:
        stream_predictions([run], images, Path(folder, "predictions.csv"), Processes())


def predict_plainly(run: SavedRun, images: ImageList) -> None:
    """Predict one image after the other."""
    size, model = run.model.hparams["image_size"], run.model.eval()
    transform = v2.Compose([v2.ToImage(), v2.Resize((size, size), antialias=True)])
    with torch.inference_mode():
        for file in images.files:
            with Image.open(file) as image:
                model(transform(image.convert("RGB"))[None]).softmax(dim=1)


def decode(run: SavedRun, images: ImageList, threads: int) -> None:
    """Decode and resize, without a network."""
    size = run.model.hparams["image_size"]

    def read(file: str) -> object:
        image = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)

    cv2.setNumThreads(1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, images.files))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    run, found = SavedRun(arguments.run), list_images([arguments.folder])
    images = ImageList(found.files[: arguments.images], found.names[: arguments.images])
    torch.set_num_threads(arguments.threads)
    for file in images.files:
        Path(file).read_bytes()
    methods: dict[str, Callable[[], None]] = {
        "hemai predict": lambda: predict(run, images),
        "plain loop": lambda: predict_plainly(run, images),
        "decoding alone": lambda: decode(run, images, arguments.threads),
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(arguments.rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            rates[name].append(len(images) / (time.perf_counter() - start))
    ours = rates.pop("hemai predict")
    print(f"{len(images):,} images, {arguments.threads} threads: hemai predict {statistics.median(ours):,.0f} images/s")
    for name, theirs in rates.items():
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        print(
            f"{name} {statistics.median(theirs):,.0f} images/s; ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
