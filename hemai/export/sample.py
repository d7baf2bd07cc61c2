"""Images on which an exported network is compared with the original, calibrated and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hemai.data.datamodule import CellDataModule
from hemai.data.images import find_images, prepare_images, prepared_shape
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError, one_line

COMPARED = 32  # images: a wrong export is wrong on all of them
SPLITS = ("test", "val", "train")


@dataclass(frozen=True)
class Sample:
    """Prepared images of one origin.

    Attributes:
        images: uint8 RGB, (N, height, width, 3).
        origin: What they are, in words.
        data: Data module of the run, for its labelled images; None if they no longer lie where they did.
        is_real: Whether they are images, not random pixels.
    """

    images: np.ndarray
    origin: str
    data: CellDataModule | None = None
    is_real: bool = True


def sample_images(run: SavedRun, paths: Sequence[str] = (), most: int = COMPARED) -> Sample:
    """Images to compare on: those at `paths`, else of the run's data, else of random pixels.

    Args:
        run: The run; its prepare list is applied.
        paths: Files, folders and patterns, see `hemai.data.images.find_images`.
        most: Largest number of images.

    Raises:
        UserError: No image at `paths`, or one that cannot be read.
    """
    try:
        data, reason = run.data(), ""
    except UserError as error:
        data, reason = None, one_line(error, 120)
    if paths:
        images = _prepared(run, paths, most)
        return Sample(images, f"{len(images):,} images of --images", data)
    if data is not None:
        split = next(split for split in SPLITS if split in data.rows)
        images, _ = images_of(data, split, most)
        return Sample(images, f"{len(images):,} {split} images of the run", data)
    size, rng = run.model.hparams["image_size"], np.random.default_rng(0)
    images = rng.integers(0, 256, (most, size, size, 3), np.uint8)
    origin = f"{most} random images, as the run's own cannot be read ({reason}); --images names others"
    return Sample(images, origin, is_real=False)


def images_of(data: CellDataModule, split: str, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images of a split, evenly spaced if only `most` of them, and their targets.

    Returns:
        uint8 RGB, (N, height, width, 3), and int64, (N,).
    """
    images = data.images(split)
    count = min(most or len(images), len(images))
    batch = images[[(0, int(index)) for index in np.linspace(0, len(images) - 1, count)]]
    return batch["image"].permute(0, 2, 3, 1).numpy(), batch["target"].numpy()


def _prepared(run: SavedRun, paths: Sequence[str], most: int) -> np.ndarray:
    files, prepare = list(find_images(paths))[:most], run.metadata["prepare"]
    prepared = list(prepare_images(files, prepare, prepared_shape(files, prepare)))
    if bad := [(file, each.error) for file, each in zip(files, prepared, strict=True) if each.error]:
        raise UserError(f"--images: cannot read {bad[0][0]} ({bad[0][1]}); remove it")
    return np.stack([each.image for each in prepared])
