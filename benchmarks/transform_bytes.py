"""SHA-256 of the images that every config of `configs/transform` makes: once prepared, and augmented in three epochs.

    python benchmarks/transform_bytes.py [FOLDER ...] [--images 40]

Without a folder cells are drawn. Two environments that print the same lines make the same bytes: `.ci/fork` compares
albumentations with its fork.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

from hemai.data.batches import CellImages
from hemai.data.images import images_below, read_image
from hemai.data.synthetic import draw_cell, draw_patient
from hemai.settings.compose import CONFIGS, compose
from hemai.settings.instantiate import build
from hemai.transforms import ImagePipeline

EPOCHS = 3


def images_of(folders: Sequence[Path], count: int) -> list[np.ndarray]:
    """Images of each folder, evenly spaced in the order of their names; drawn cells without a folder."""
    if not folders:
        rng = np.random.default_rng(0)
        return [draw_cell(rng, draw_patient(rng, leukaemic=bool(i % 2))) for i in range(count)]
    found = [images_below(folder)[0] for folder in folders]
    return [read_image(files[i]) for files in found for i in np.linspace(0, len(files) - 1, count).astype(int)]


def digest(images: Sequence[np.ndarray]) -> str:
    """SHA-256 of the bytes of images, one after the other."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(image).data for image in images)).hexdigest()


def transformed(pipeline: ImagePipeline, images: Sequence[np.ndarray]) -> Iterator[tuple[str, str]]:
    """What was done to the images, and the digest of the result; augmented with the seeds of a training."""
    compose = A.from_dict(pipeline.prepare_spec)
    prepared = np.stack([compose(image=image)["image"] for image in images])
    yield "prepared", digest(prepared)
    if pipeline.augment is not None:
        rows = np.arange(len(images))
        training = CellImages([prepared], rows, np.zeros(len(images), np.int64), pipeline)
        items = [(epoch, int(row)) for epoch in range(EPOCHS) for row in rows]
        yield "augmented", digest(training[items]["image"].permute(0, 2, 3, 1).numpy())


def main() -> None:
    """Print a line for each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--images", type=int, default=40, help="of each folder")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    images = images_of(arguments.folders, arguments.images)
    for name in sorted(file.stem for file in (CONFIGS / "transform").glob("[!_]*.yaml")):
        pipeline: ImagePipeline = build(compose([f"transform={name}"]).transform)
        for what, result in transformed(pipeline, images):
            print(f"{name:21} {what:9} {len(images)} images  {result}")


if __name__ == "__main__":
    main()
