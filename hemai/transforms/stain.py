"""Stain: another colour of the same cells for training, and an input that is linear in the amount of dye."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from albumentations.core.transforms_interface import ImageOnlyTransform

from hemai.transforms.segment import BLACK


class StainJitter(ImageOnlyTransform):
    """Give an image the colours of another staining: shift and stretch each channel of LAB.

    Every channel gets a new mean and spread over the pixels that are not black, so cells cut out on black keep their
    background. After RandStainNA (Shen et al., MICCAI 2022), which draws both from their distribution over the training
    images; here they are drawn around those of the image itself, so that no statistics of a data set are needed.

    Args:
        shift: Standard deviation of the shift of a channel's mean, in the 8-bit units of LAB (0..255).
        stretch: Standard deviation of the logarithm of the factor of its spread.
        p: Probability of applying it.

    Targets:
        image: uint8 RGB, (height, width, 3).
    """

    def __init__(self, shift: float = 6.0, stretch: float = 0.1, p: float = 0.8) -> None:
        super().__init__(p=p)
        if not (shift >= 0 and stretch >= 0):
            raise ValueError(f"shift={shift}, stretch={stretch}: expected numbers, 0 or more")
        self.shift, self.stretch = shift, stretch

    def get_params(self) -> dict[str, Any]:
        """Draw shift and factor of each channel."""
        draw = self.random_generator.normal
        return {"shifts": draw(0, self.shift, 3), "factors": np.exp(draw(0, self.stretch, 3))}

    def apply(self, img: np.ndarray, shifts: np.ndarray, factors: np.ndarray, **params: Any) -> np.ndarray:
        """Change mean and spread of the channels of LAB."""
        is_black = cv2.inRange(img, (0, 0, 0), (BLACK, BLACK, BLACK))
        is_stained = cv2.bitwise_not(is_black)
        if not is_stained.any():
            return img
        lab = cv2.cvtColor(img, cv2.COLOR_RGB2LAB)
        means = np.array(cv2.mean(lab, is_stained)[:3])
        values = np.arange(256)[:, None]  # a table of 256 values for each channel
        table = np.clip(np.rint((values - means) * factors + means + shifts), 0, 255).astype(np.uint8)
        changed = cv2.cvtColor(cv2.LUT(lab, table[None]), cv2.COLOR_LAB2RGB)
        return cv2.copyTo(img, is_black, changed)


class OpticalDensity(ImageOnlyTransform):
    """Logarithm of the light that a pixel lets through: linear in the amount of dye (Beer and Lambert).

    255 ln(1 + value) / ln(256), so that black stays black and white stays white: 255 less the optical density, scaled.

    Targets:
        image: uint8 RGB, (height, width, 3).
    """

    TABLE = np.rint(255 * np.log1p(np.arange(256)) / np.log(256)).astype(np.uint8)

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p=p)

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Look every value up."""
        return cv2.LUT(img, self.TABLE)
