"""What can be read off an image file besides the morphology of the cell: colour, corners, size, order."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from hemai.data import CellDataset
from hemai.data.cache import Cache
from hemai.data.images import read_image
from hemai.progress import track
from hemai.transforms import SegmentNucleus

AREA = "cell area"
SIDE = 224  # px to which images are averaged for colour, corners and border
CORNER = (20, 48)  # px of SIDE: height and width of a corner, about the scale bar of the Iranian set
BORDER = 4  # px of SIDE
BLOCK = 4  # px of a corner that are averaged to one

FEATURES = {
    "mean colour": "mean of red, green and blue",
    "mean and spread of colour": "mean and standard deviation of red, green and blue",
    AREA: "pixels of the segmented nuclei, or of the cell where it lies on black; and their share of the image",
    "border": f"mean colour of the outermost {BORDER} of {SIDE} pixels, each side for itself",
    "corner, top left": "",
    "corner, top right": "",
    "corner, bottom left": "",
    "corner, bottom right": "",
    "image size": "height and width in pixels",
    "file size": "bytes",
    "file order": "the last number in the file's name",
}


def measure(dataset: CellDataset, cache: Cache) -> dict[str, np.ndarray]:
    """Features of all images of a data set, kept beside its prepared images.

    Returns:
        Name of `FEATURES` -> float64, shape (rows of the data set's table, numbers); NaN for unreadable images.
    """
    file = cache.folder / "shortcuts.npz"
    if file.is_file():
        with np.load(file) as stored:
            return dict(stored)
    readable = np.flatnonzero(cache.errors == "")
    paths = dataset.table["path"].to_numpy()
    found = {}
    for name, values in measure_files([dataset.root / paths[row] for row in readable]).items():
        found[name] = np.full((len(paths), values.shape[1]), np.nan)
        found[name][readable] = values
    with suppress(OSError):  # a cache that cannot be written is measured again next time
        part = file.with_name(f"{os.getpid()}-{file.name}")
        np.savez(part, allow_pickle=False, **found)
        os.replace(part, file)
    return found


def measure_files(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Measure images, several at a time.

    Returns:
        Name of `FEATURES` -> float64, shape (files, numbers).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(track(pool.map(_measure, files), "measuring", total=len(files)))
    return {name: np.array([row[name] for row in rows], np.float64) for name in FEATURES}


def _measure(file: Path) -> dict[str, np.ndarray]:
    image = read_image(file)
    area = float(SegmentNucleus().segment(image).mask.sum())
    pixels = image.shape[0] * image.shape[1]
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean, spread = small.mean(axis=(0, 1)), small.std(axis=(0, 1))
    height, width = CORNER
    sides = (small[:BORDER], small[-BORDER:], small[:, :BORDER], small[:, -BORDER:])
    numbers = re.findall(r"\d+", file.stem)
    return {
        "mean colour": mean,
        "mean and spread of colour": np.append(mean, spread),
        "cell area": np.array([area, area / pixels]),
        "border": np.concatenate([side.mean(axis=(0, 1)) for side in sides]),
        "corner, top left": _blocks(small[:height, :width]),
        "corner, top right": _blocks(small[:height, -width:]),
        "corner, bottom left": _blocks(small[-height:, :width]),
        "corner, bottom right": _blocks(small[-height:, -width:]),
        "image size": np.array(image.shape[:2]),
        "file size": np.array([file.stat().st_size]),
        "file order": np.array([int(numbers[-1][-9:]) if numbers else 0]),
    }


def _blocks(corner: np.ndarray) -> np.ndarray:
    height, width = (length // BLOCK for length in corner.shape[:2])
    return corner.reshape(height, BLOCK, width, BLOCK, 3).mean(axis=(1, 3)).ravel()
