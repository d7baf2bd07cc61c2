"""Find the cells of a smear by their nuclei, and cut a box around each."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from hemai.transforms.segment import SegmentNucleus

CORE = 0.6  # of the typical radius: deeper inside the mask lies one core per nucleus, also where nuclei touch
LARGEST = 2048  # px: longer sides are reduced before the search, which needs no finer detail
NUCLEI = SegmentNucleus(min_object_px=0, reference_size=None)  # debris is measured against the nuclei, not in pixels


class Nuclei(NamedTuple):
    """The nuclei of an image, from top to bottom.

    Attributes:
        centres: x and y in pixels, float64, (N, 2).
        radii: Radius of the largest circle inside each nucleus, in pixels, (N,).
        at_edge: Whether the edge of the image cuts a nucleus, (N,).
    """

    centres: np.ndarray
    radii: np.ndarray
    at_edge: np.ndarray


def find_nuclei(image: np.ndarray) -> Nuclei:
    """Find nuclei: K-means of a*, then one nucleus for each part of the mask that is deeper than most of its radius.

    The typical radius is that of the image itself (the median over the pixels of the mask), so magnification does not
    matter, and smaller objects, such as platelets, are left out. Of cells on a black background, the cells are found.

    Args:
        image: uint8 RGB, (height, width, 3).

    Returns:
        No nucleus if the image has none, see `SegmentNucleus`.
    """
    scale = max(1.0, max(image.shape[:2]) / LARGEST)
    small = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA) if scale > 1 else image
    mask = NUCLEI.segment(small).mask
    # A border of 0: the depth counts from the edge of the image too.
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    deepest, objects = _deepest(mask, depth)
    typical = np.median(deepest[objects[mask > 0]]) if mask.any() else np.inf
    cores = (depth > CORE * typical).astype(np.uint8)
    radii = _deepest(cores, depth)[0][1:]  # 0 is the background
    centres = cv2.connectedComponentsWithStats(cores)[3][1:] + 0.5  # the middle of a pixel
    to_edge = np.minimum(centres, np.array(mask.shape[::-1]) - centres).min(axis=1)
    return Nuclei(centres * scale, radii * scale, to_edge <= radii + 1)


def _deepest(mask: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest depth in each connected object of a mask, (objects + 1,), and the number of the object of each pixel."""
    count, objects = cv2.connectedComponents(mask)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, objects.ravel().astype(np.intp), depth.ravel())
    return deepest, objects


def find_cells(image: np.ndarray, field: float = 2.0) -> np.ndarray:
    """Boxes around the cells of a smear: squares of one size, each with a nucleus in its middle.

    Args:
        image: uint8 RGB, (height, width, 3).
        field: Side of a box as a multiple of the median diameter of the nuclei.

    Returns:
        left, top, right, bottom in pixels, int64, (N, 4), line by line as one reads. Nuclei cut by the edge of the
        image have none; a box that would leave the image is moved into it.
    """
    nuclei = find_nuclei(image)
    if not len(nuclei.radii):
        return np.zeros((0, 4), np.int64)
    size = np.array([image.shape[1], image.shape[0]])
    side = min(round(2 * field * float(np.median(nuclei.radii))), *size)
    centres = nuclei.centres[~nuclei.at_edge]
    centres = centres[np.lexsort([centres[:, 0], centres[:, 1] // side])]
    corners = np.clip((centres - side / 2).round(), 0, size - side).astype(np.int64)
    return np.hstack([corners, corners + side])
