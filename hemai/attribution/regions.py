"""How much of an attribution lies on nucleus, cytoplasm and background."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd

from hemai.transforms import SegmentNucleus
from hemai.transforms.controls import KeepTexture, cell_mask, is_cut_out
from hemai.transforms.kmeans import cluster_histogram
from hemai.transforms.segment import clean_mask

REGIONS = {"nucleus": 1, "cytoplasm": 2, "background": 0}  # name -> value in a map of regions
RIM_PX = 6  # of 224: width of the rim around a nucleus that counts as cytoplasm, where cells are not cut out

BLUR, INLETS = 0.05, 0.2  # of the radius of a cell: blur of its texture, and inlets of the nucleus that are closed
SPECK = 0.02  # of the area of a cell: smaller dark spots are no nucleus


def find_regions(image: np.ndarray) -> np.ndarray:
    """Divide an image into nucleus, cytoplasm and background.

    In a smear the nuclei are those of `SegmentNucleus`, and the cytoplasm is a rim of 6 px (of 224) around them. Of a
    cell cut out on black `SegmentNucleus` keeps all, so its nucleus is the darker of two clusters of green within the
    cell, its inlets closed; the cytoplasm is the rest of the cell. Both are approximations: no masks are published to
    measure them against.

    Args:
        image: uint8 RGB, (height, width, 3).

    Returns:
        uint8, (height, width), values of `REGIONS`; all 0 if no cell is found.
    """
    if not is_cut_out(image):
        nuclei, cells = (SegmentNucleus(margin_px=margin).segment(image).mask for margin in (0, RIM_PX))
        return np.where(nuclei > 0, 1, 2 * cells).astype(np.uint8)
    cells = cell_mask(image)
    if not cells.any():
        return cells
    radius = np.sqrt(cells.sum() / np.pi)
    weight = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), BLUR * radius)  # black outside must not darken the rim
    green = cv2.GaussianBlur(image[..., 1] * cells.astype(np.float32), (0, 0), BLUR * radius)
    green = (green / np.maximum(weight, 1e-6)).round().clip(0, 255).astype(np.uint8)
    _, cluster_of_value = cluster_histogram(np.bincount(green[cells > 0], minlength=256), 2)
    dark = ((cluster_of_value[green] == 0) & (cells > 0)).astype(np.uint8)
    nuclei = _close(clean_mask(dark, SPECK * cells.sum()), INLETS * radius)
    return np.where((nuclei & cells) > 0, 1, 2 * cells).astype(np.uint8)


def _close(mask: np.ndarray, reach: float) -> np.ndarray:
    """Morphological closing with a disc, by distances: many times faster than OpenCV's for a large disc."""
    if not mask.any():
        return mask
    grown = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_5) <= reach
    return (cv2.distanceTransform(grown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) > reach).astype(np.uint8)


def prepare_with_regions(image: np.ndarray, prepare: A.Compose) -> tuple[np.ndarray, np.ndarray]:
    """Prepare an image as for the network, and take its regions along.

    The regions are found in the image as stored, and pass the crops and resizes of the prepare list as a mask, with
    nearest neighbours. After `KeepTexture`, whose square a mask cannot follow, they are found in the prepared image.

    Args:
        image: uint8 RGB, (height, width, 3), as stored.
        prepare: Transforms of the checkpoint, as of `albumentations.from_dict`.

    Returns:
        Prepared image, uint8 RGB, and its regions, see `find_regions`.
    """
    if any(isinstance(step, KeepTexture) for step in prepare.transforms):
        prepared = prepare(image=image)["image"]
        return prepared, find_regions(prepared)
    result = prepare(image=image, mask=find_regions(image))
    return result["image"], result["mask"]


def measure_regions(heat: np.ndarray, regions: np.ndarray) -> dict[str, float]:
    """Fraction of the attribution and of the area in each region.

    Args:
        heat: Attribution, float, (height, width), 0 or more.
        regions: See `find_regions`.

    Returns:
        Region -> fraction of the attribution, NaN if that is 0 everywhere; `<region>_area` -> fraction of the pixels.
    """
    total = heat.sum() or np.nan
    attribution = {name: float(heat[regions == value].sum() / total) for name, value in REGIONS.items()}
    return attribution | {f"{name}_area": float((regions == value).mean()) for name, value in REGIONS.items()}


def summarise_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Mean fractions of each region by method and class.

    Images without a cell, or without positive attribution, are left out.

    Args:
        table: One row per image and method: `method`, `explained` (class), the columns of `measure_regions`; with
            `group`, each group counts once.

    Returns:
        `method`, `class`, `region`, `images`, `groups` (if known), `attribution` and `area` (fractions, means over
        images or over the means of groups) and `ratio`: attribution by area, 1 if the network has no preference.
    """
    kept = table[(table["background_area"] < 1) & table["background"].notna()]
    rows: list[dict[str, Any]] = []
    for (method, label), part in kept.groupby(["method", "explained"], sort=False):
        numbers = part.select_dtypes("number")
        means = numbers.groupby(part["group"]).mean().mean() if "group" in part else numbers.mean()
        counts = {"images": len(part)} | ({"groups": part["group"].nunique()} if "group" in part else {})
        for name in REGIONS:
            area = means[f"{name}_area"]
            shares = {"attribution": means[name], "area": area, "ratio": means[name] / area if area else np.nan}
            rows.append({"method": method, "class": label, "region": name, **counts, **shares})
    counted = ["images", "groups"] if "group" in table else ["images"]
    return pd.DataFrame(rows, columns=["method", "class", "region", *counted, "attribution", "area", "ratio"])
