"""Attributions drawn over their images."""

from __future__ import annotations

import cv2
import numpy as np

BLUR = 0.01  # of the height: standard deviation; single pixels, as of integrated gradients, would hardly be seen
OPACITY = 0.7  # where the attribution is largest
BRIGHTEST = 99  # percentile of the positive attribution that is drawn as the largest; single pixels may be far above


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw an attribution over its image, slightly blurred: the larger, the more yellow and opaque.

    Args:
        image: uint8 RGB, (height, width, 3).
        heat: Attribution, float, (height, width), 0 to 1.

    Returns:
        uint8 RGB, (height, width, 3).
    """
    heat = cv2.GaussianBlur(heat, (0, 0), BLUR * len(heat))
    positive = heat[heat > 0]
    top = np.percentile(positive, BRIGHTEST) if len(positive) else 1.0
    strength = np.clip(heat / top, 0, 1)
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    opacity = OPACITY * strength[..., None]
    return (image * (1 - opacity) + colours * opacity).round().astype(np.uint8)
