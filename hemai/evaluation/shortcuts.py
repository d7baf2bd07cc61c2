"""What can be read off an image file besides the morphology of the cell: colour, corners, size, order."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hemai.data.images import read_image
from hemai.progress import track
from hemai.transforms import SegmentNucleus

SIDE = 224  # px to which images are averaged for colour, corners and border
CORNER = (20, 48)  # px of SIDE: height and width of a corner, about the scale bar of the Iranian set
BORDER = 4  # px of SIDE
BLOCK = 4  # px of a corner that are averaged to one

FEATURES = {
    "mean colour": "mean of red, green and blue",
    "mean and spread of colour": "mean and standard deviation of red, green and blue",
    "cell area": "pixels of the segmented nuclei, or of the cell where it lies on black; and their share of the image",
    "border": f"mean colour of the outermost {BORDER} of {SIDE} pixels, each side for itself",
    "corner, top left": "",
    "corner, top right": "",
    "corner, bottom left": "",
    "corner, bottom right": "",
    "image size": "height and width in pixels",
    "file size": "bytes",
    "file order": "the last number in the file's name",
}


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


def logits_from(features: np.ndarray, targets: np.ndarray, fit: np.ndarray, test: np.ndarray, count: int) -> np.ndarray:
    """Logits of test images from a logistic regression on a few numbers, fitted on other images.

    Args:
        features: Shape (N, numbers).
        targets: Shape (N,).
        fit: Indices of images that are fitted.
        test: Indices of images that are tested.
        count: Classes.

    Returns:
        Shape (len(test), count); a class without fitted images has no chance.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(features[fit], targets[fit])
    logits = np.full((len(test), count), -30.0)
    logits[:, model.classes_] = model.predict_log_proba(features[test])
    return logits
