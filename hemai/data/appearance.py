"""What the training images of a network look like, for its checkpoint, and how far a new image is from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from hemai.data.images import read_image
from hemai.transforms.cells import find_nuclei
from hemai.utils.files import write_text

VERSION = 1  # of the summary; raise it when it is computed in another way
MOST = 1000  # training images that are measured, evenly spaced: seconds
QUANTILE = 0.999  # of the training images' distances: one in a thousand of them is called unlike the others
MOST_FILES = 50  # training images that are decoded again, as they were before their preparation
FEATURES = 8
FOLDS = 10
NUMBERS = ("limit", "nuclei", "side")
T = TypeVar("T")


def measure_appearance(image: np.ndarray) -> np.ndarray:
    """Colour, spread of colour, fraction of nuclei and sharpness of a prepared image.

    Args:
        image: uint8 RGB, (height, width, 3).

    Returns:
        float64, (8,): mean and standard deviation of L, a and b (8 bits each), fraction of the image inside the
        largest circles of its nuclei, and the logarithm of 1 + the standard deviation of the Laplacian of L.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    mean, std = cv2.meanStdDev(lab)
    radii = find_nuclei(image).radii
    edges = cv2.meanStdDev(cv2.Laplacian(cv2.extractChannel(lab, 0), cv2.CV_16S))[1]
    return np.array([*mean.ravel(), *std.ravel(), np.pi * (radii**2).sum() / lab[..., 0].size, np.log1p(edges[0, 0])])


def load_appearance(
    folder: Path, images: np.ndarray, rows: np.ndarray, files: Sequence[Path], groups: Sequence[str]
) -> dict[str, Any]:
    """Summary of training images, computed once and kept in the folder of their cache; see `summarise_appearance`."""
    described = json.dumps([VERSION, rows.tolist(), list(groups)])
    file = folder / f"appearance-{hashlib.sha256(described.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError):
        if is_appearance(summary := json.loads(file.read_text())):
            return dict(summary)
    summary = summarise_appearance(images, rows, files, groups)
    with suppress(OSError):  # a cache that others share may be read-only
        write_text(file, json.dumps(summary))
    return summary


def summarise_appearance(
    images: np.ndarray, rows: np.ndarray, files: Sequence[Path], groups: Sequence[str]
) -> dict[str, Any]:
    """Summary of training images, as plain values for a checkpoint.

    Args:
        images: Prepared images, uint8 RGB, (N, height, width, 3), such as the memory map of a cache.
        rows: Those of the training images, (n,).
        files: The training images themselves, in the same order.
        groups: Group of each, such as its patient.

    Returns:
        Of up to 50 files: `nuclei`, the median number of nuclei, `side`, the median of the shorter side in pixels, and
        `field`, the median of that side over the diameter of the nuclei; None without nuclei. Of up to 1,000 prepared
        images, for `distance_to`: `mean` and `std` of the features, `precision`, the inverse of their correlation
        (shrunk: Ledoit and Wolf 2004), and `limit`, the distance that 99.9 % of them do not exceed from the images of
        other groups: an image of a new patient is farther away than those that the mean was taken of.
    """
    chosen = _some(range(len(rows)), MOST)
    with ThreadPoolExecutor() as pool:
        features = np.array(list(pool.map(lambda place: measure_appearance(np.asarray(images[rows[place]])), chosen)))
        counts, sides, fields = np.array(list(pool.map(_measure_file, _some(files, MOST_FILES)))).T
    return _fit(features) | {
        "limit": _limit(features, np.array([groups[place] for place in chosen])),
        "nuclei": float(np.median(counts)),
        "side": float(np.median(sides)),
        "field": None if np.isnan(fields).all() else float(np.nanmedian(fields)),
    }


def _fit(features: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation and precision of features, (N, 8)."""
    from sklearn.covariance import LedoitWolf

    mean, std = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    precision = LedoitWolf(assume_centered=True).fit((features - mean) / std).precision_
    return {"mean": mean.tolist(), "std": std.tolist(), "precision": precision.tolist()}


def _limit(features: np.ndarray, groups: np.ndarray) -> float:
    """Distance that most images do not exceed from those of other groups; from all images if there is one group."""
    from sklearn.model_selection import GroupKFold

    everything = np.arange(len(features))
    folds = min(FOLDS, len(np.unique(groups)))
    parts = GroupKFold(folds).split(features, groups=groups) if folds > 1 else [(everything, everything)]
    distances = [_distance(_fit(features[others]), features[own]) for others, own in parts]
    return max(float(np.quantile(np.concatenate(distances), QUANTILE)), 1e-6)  # 0 if all images are the same


def _some(items: Sequence[T] | np.ndarray, most: int) -> list[T]:
    """At most so many items, evenly spaced."""
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, most).astype(int))]


def _measure_file(file: Path) -> tuple[float, float, float]:
    """Number of nuclei, shorter side in pixels, and side over the diameter of the nuclei."""
    image = read_image(file, np.inf)  # it was trained on: large as it may be
    radii, side = find_nuclei(image).radii, min(image.shape[:2])
    return len(radii), side, side / (2 * np.median(radii)) if len(radii) else np.nan


def _distance(summary: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    """Mahalanobis distance of features, (N, 8), from those of a summary; (N,)."""
    scaled = (features - np.array(summary["mean"])) / np.array(summary["std"])
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", scaled, np.array(summary["precision"]), scaled)))


def distance_to(summary: Mapping[str, Any], image: np.ndarray) -> float:
    """Mahalanobis distance of a prepared image from the training images, as a multiple of their limit.

    Args:
        summary: Result of `summarise_appearance`.
        image: Prepared image, uint8 RGB, (height, width, 3).

    Returns:
        0 or more; above 1 the image is farther away than 99.9 % of the training images of patients that were left out.
    """
    return float(_distance(summary, measure_appearance(image)[None])[0]) / summary["limit"]


def is_appearance(value: Any) -> bool:
    """Whether a value of a checkpoint is a summary that `distance_to` can use."""
    if not isinstance(value, dict) or not {*NUMBERS, "field"} <= value.keys():
        return False
    shapes = {"mean": (FEATURES,), "std": (FEATURES,), "precision": (FEATURES, FEATURES)}
    try:
        numbers = {name: np.array(value.get(name), float) for name in (*shapes, *NUMBERS)}
        field = np.array(1.0 if value["field"] is None else value["field"], float)
    except (TypeError, ValueError):
        return False
    return (
        all(np.isfinite(array).all() for array in (*numbers.values(), field))
        and all(numbers[name].shape == shape for name, shape in shapes.items())
        and bool((numbers["std"] > 0).all() and numbers["limit"] > 0 and numbers["side"] > 0 and field > 0)
    )
