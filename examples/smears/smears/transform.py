"""A transform of one's own."""

from typing import Any

import albumentations as A
import numpy as np


class EvenLight(A.ImageOnlyTransform):
    """Scale each image so that its mean brightness is the same.

    Args:
        brightness: Wanted mean, 1..255.
        p: Probability; 1 in a prepare list.
    """

    def __init__(self, brightness: float = 128.0, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.brightness = brightness

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Image of the same shape, uint8."""
        return np.clip(img * (self.brightness / max(float(img.mean()), 1.0)), 0, 255).astype(np.uint8)
