"""Frequent transforms of albumentations without its bookkeeping: the same random numbers, the same bytes.

Each function takes a transform of albumentations with its settings, draws from the generators what the transform would
draw, in its order, and computes what it would compute. To add one, write a function and enter it in `DIRECT`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np

from hemai.transforms.random_numbers import RandomNumbers

VALUES = np.arange(256)
FLOATS = VALUES.astype(np.float32)

Direct = Callable[[Any, np.ndarray, RandomNumbers], np.ndarray]


def direct_function(transform: A.BasicTransform) -> Direct | None:
    """Function that does what a transform does to a uint8 RGB image; None if there is none for it or its settings."""
    is_possible, function = DIRECT.get(type(transform), (None, None))
    return function if is_possible and transform.p > 0 and is_possible(transform) else None


def _always(transform: Any) -> bool:
    return True


def _flip_horizontally(transform: A.HorizontalFlip, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    return cv2.flip(image, 1)


def _flip_vertically(transform: A.VerticalFlip, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    return cv2.flip(image, 0)


def _is_rotation_and_scale(transform: A.Affine) -> bool:
    no_shear = all(limits == (0, 0) for limits in transform.shear.values())
    return no_shear and not transform.fit_output and not transform.balanced_scale


def _warp(transform: A.Affine, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    height, width = image.shape[:2]
    draw = numbers.python
    if transform.translate_px is not None:
        dx, dy = (draw.randint(*map(int, transform.translate_px[axis])) for axis in "xy")
    else:
        right, down = (draw.uniform(*limits) for limits in transform.translate_percent.values())
        dx, dy = int(right * width), int(down * height)
    for limits in transform.shear.values():
        draw.uniform(*limits)
    scale_x, scale_y = (draw.uniform(*limits) for limits in transform.scale.values())
    scale_y = scale_x if transform.keep_ratio else scale_y
    angle = math.radians(draw.uniform(*transform.rotate) % 360)
    cos, sin, x, y = math.cos(angle), math.sin(angle), width / 2 - 0.5, height / 2 - 0.5
    a, b, c, d = cos * scale_x, sin * scale_y, -sin * scale_x, cos * scale_y
    matrix = np.array([[a, b, x + dx - a * x - b * y], [c, d, y + dy - c * x - d * y]])
    fill = transform.fill if isinstance(transform.fill, (tuple, list)) else (transform.fill,) * 3
    flags, border = transform.interpolation, transform.border_mode
    rgba = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # OpenCV interpolates four channels a fifth faster than three
    warped = cv2.warpAffine(rgba, matrix, (width, height), flags=flags, borderMode=border, borderValue=(*fill, 0))
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def _gamma(transform: A.RandomGamma, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    gamma = numbers.python.uniform(*transform.gamma_limit) / 100
    return cv2.LUT(image, ((VALUES * (1 / 255)) ** gamma * 255).astype(np.uint8))


def _is_by_channel(transform: A.MultiplicativeNoise) -> bool:
    return not transform.elementwise


def _multiply(transform: A.MultiplicativeNoise, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    low, high = transform.multiplier
    factors = numbers.numpy.uniform(low, high, 3 if transform.per_channel else 1).astype(np.float32)
    tables = (FLOATS[:, None] * factors).clip(0, 255).astype(np.uint8)
    return cv2.LUT(image, tables[None] if transform.per_channel else tables)


def _shift_hsv(transform: A.HueSaturationValue, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
    draw = numbers.python.uniform
    limits = transform.hue_shift_limit, transform.sat_shift_limit, transform.val_shift_limit
    hue, saturation, value = (draw(*each) for each in limits)
    if hue == saturation == value == 0:
        return image
    tables = np.empty((1, 256, 3), np.uint8)
    tables[0, :, 0] = (VALUES + hue) % 180
    tables[0, :, 1] = (VALUES + int(saturation)).clip(0, 255)
    tables[0, :, 2] = (VALUES + int(value)).clip(0, 255)
    tables[0, 0, 1] = 0  # grey has no hue that could be made stronger
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), tables), cv2.COLOR_HSV2RGB)


DIRECT: dict[type[A.BasicTransform], tuple[Callable[[Any], bool], Direct]] = {
    A.HorizontalFlip: (_always, _flip_horizontally),
    A.VerticalFlip: (_always, _flip_vertically),
    A.Affine: (_is_rotation_and_scale, _warp),
    A.RandomGamma: (_always, _gamma),
    A.MultiplicativeNoise: (_is_by_channel, _multiply),
    A.HueSaturationValue: (_always, _shift_hsv),
}
