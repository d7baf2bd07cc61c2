"""Controls: images that keep only a part of what a network could learn from, the outline or the texture of cells."""

from __future__ import annotations

from functools import reduce
from typing import Any

import cv2
import numpy as np
from albumentations.core.transforms_interface import ImageOnlyTransform

from hemai.transforms.segment import BLACK, SegmentNucleus, clean_mask

REFERENCE_PX = 224 * 224  # size of the image to which the smallest area of an object refers, as in SegmentNucleus


def cell_mask(image: np.ndarray) -> np.ndarray:
    """Mask of the cells if they are cut out on black, of other images that of the nuclei.

    Args:
        image: uint8 RGB, (height, width, 3); if more than half of its border is black, cells are cut out.

    Returns:
        uint8, (height, width), 0 or 1, without holes and small objects.

    Raises:
        ValueError: The image has another type or shape.
    """
    segmenter = SegmentNucleus()
    nuclei = segmenter.segment(image).mask
    if not is_cut_out(image):
        return nuclei
    _, is_bright = cv2.threshold(reduce(cv2.max, cv2.split(image)), BLACK, 1, cv2.THRESH_BINARY)
    return clean_mask(is_bright, segmenter.min_object_px * is_bright.size / REFERENCE_PX)


def is_cut_out(image: np.ndarray) -> bool:
    """Whether an image, uint8 RGB, (height, width, 3), shows cells cut out on black: most of its border is black."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return bool((border.max(axis=1) > BLACK).mean() < 0.5)


class _KeepPart(ImageOnlyTransform):
    """Keep a part of an image with cells; without any it becomes black, `get_applied_params()["found"]` is False."""

    def __init__(self, p: float = 1) -> None:
        super().__init__(p=p)

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Find the cells, and keep a part of the image."""
        mask = cell_mask(img)
        self.params["found"] = bool(mask.any())
        return self.keep(img, mask) if mask.any() else np.zeros_like(img)

    def keep(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The part of an image that is kept, given its mask, which is not empty."""
        raise NotImplementedError


class KeepSilhouette(_KeepPart):
    """Draw cells white on black, without colour and texture: what their size and outline alone tell.

    A control: the twin of a network, trained with `transform=silhouette`, should do worse than the network.

    Targets:
        image: uint8 RGB, (height, width, 3). Without a cell it becomes black, `get_applied_params()["found"]` is False,
            and a run reports it. See `cell_mask` for what a cell is.
    """

    def keep(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The mask, white on black."""
        return cv2.merge([255 * mask] * 3)


class KeepTexture(_KeepPart):
    """Crop to the largest square inside a cell: what colour and texture alone tell, without size and outline.

    A control: `transform=texture` resizes the squares to one size, so that every cell fills the image. Its size can
    show only in how much it is magnified, in the sharpness and the grain of the texture.

    Targets:
        image: uint8 RGB, (height, width, 3); the result is square. Without a cell it becomes black, of unchanged size,
            `get_applied_params()["found"]` is False, and a run reports it. See `cell_mask` for what a cell is.
    """

    def keep(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The largest square inside the mask."""
        return image[largest_square(mask)]


def largest_square(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the largest square of odd side inside a mask; of several, one in the middle of the list.

    Args:
        mask: uint8, (height, width), 0 or 1, not empty.
    """
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)  # outside the image is outside the mask
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]  # by chessboard: squares around each pixel
    centres = np.argwhere(distance == distance.max())
    row, column = centres[len(centres) // 2]
    reach = int(distance.max()) - 1
    return slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1)
