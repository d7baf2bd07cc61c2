"""What the training images of a network look like, for its checkpoint, and how far a new image is from them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from sklearn.covariance import LedoitWolf

from hemai.transforms.cells import Nuclei, find_nuclei

MOST = 1000  # training images that are measured, evenly spaced: seconds
QUANTILE = 0.999  # of the training images' own distances: one in a thousand of them is called unlike the others
FEATURES = 8


def measure_appearance(image: np.ndarray, nuclei: Nuclei | None = None) -> np.ndarray:
    """Colour, spread of colour, fraction of nuclei and sharpness of a prepared image.

    Args:
        image: uint8 RGB, (height, width, 3).
        nuclei: Its nuclei, if they are known already.

    Returns:
        float64, (8,): mean and standard deviation of L, a and b (8 bits each), fraction of the image inside the
        largest circles of its nuclei, and the logarithm of 1 + the standard deviation of the Laplacian of L.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    mean, std = cv2.meanStdDev(lab)
    radii = (nuclei or find_nuclei(image)).radii
    edges = cv2.meanStdDev(cv2.Laplacian(cv2.extractChannel(lab, 0), cv2.CV_16S))[1]
    return np.array([*mean.ravel(), *std.ravel(), np.pi * (radii**2).sum() / lab[..., 0].size, np.log1p(edges[0, 0])])


def summarise_appearance(images: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Summary of training images, as plain values for a checkpoint.

    Args:
        images: Prepared images, uint8 RGB, (N, height, width, 3), such as the memory map of a cache.
        rows: Those of the training images, (n,).

    Returns:
        `images`: how many were measured. `nuclei`: their median number of nuclei. `field`: median of the side of an
        image over the diameter of its nuclei; None without nuclei. For `distance_to`: `mean` and `std` of the
        features, `precision`, the inverse of their correlation (shrunk: Ledoit and Wolf 2004), and `limit`, the
        distance that 99.9 % of the measured images do not exceed.
    """

    def measure(row: int) -> tuple[np.ndarray, int, float]:
        image = np.asarray(images[row])
        nuclei = find_nuclei(image)
        field = min(image.shape[:2]) / (2 * np.median(nuclei.radii)) if len(nuclei.radii) else np.nan
        return measure_appearance(image, nuclei), len(nuclei.radii), field

    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST).astype(int))]
    with ThreadPoolExecutor() as pool:
        features, nuclei, fields = map(np.array, zip(*pool.map(measure, chosen), strict=True))
    mean, std = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    precision = LedoitWolf(assume_centered=True).fit((features - mean) / std).precision_
    summary = {"mean": mean.tolist(), "std": std.tolist(), "precision": precision.tolist()}
    distances = [_distance(summary, each) for each in features]
    return summary | {
        "images": len(chosen),
        "nuclei": float(np.median(nuclei)),
        "field": None if np.isnan(fields).all() else float(np.nanmedian(fields)),
        "limit": float(np.quantile(distances, QUANTILE)),
    }


def _distance(summary: Mapping[str, Any], features: np.ndarray) -> float:
    scaled = (features - summary["mean"]) / summary["std"]
    return float(np.sqrt(scaled @ np.array(summary["precision"]) @ scaled))


def distance_to(summary: Mapping[str, Any], image: np.ndarray) -> float:
    """Mahalanobis distance of a prepared image from the training images, as a multiple of their limit.

    Args:
        summary: Result of `summarise_appearance`.
        image: Prepared image, uint8 RGB, (height, width, 3).

    Returns:
        0 or more; above 1 the image is unlike 99.9 % of the training images.
    """
    return _distance(summary, measure_appearance(image)) / summary["limit"]


def is_appearance(value: Any) -> bool:
    """Whether a value of a checkpoint is a summary that `distance_to` can use."""
    if not isinstance(value, dict) or not {"images", "nuclei", "field", "limit"} <= value.keys():
        return False
    shapes = {"mean": (FEATURES,), "std": (FEATURES,), "precision": (FEATURES, FEATURES)}
    try:
        numbers = {name: np.array(value.get(name), float) for name in (*shapes, "limit", "nuclei")}
        field = np.array(1.0 if value["field"] is None else value["field"], float)
    except (TypeError, ValueError):
        return False
    return (
        all(np.isfinite(array).all() for array in (*numbers.values(), field))
        and all(numbers[name].shape == shape for name, shape in shapes.items())
        and bool((numbers["std"] > 0).all() and numbers["limit"] > 0 and field > 0)
    )
