"""Random numbers that follow from numbers, not from a state."""

from __future__ import annotations

import random
from functools import cached_property

import numpy as np


class RandomNumbers:
    """Random numbers of one image in one epoch.

    albumentations knows neither worker nor epoch: two workers would use the same numbers.

    Args:
        seed, epoch, index: What they follow from.
    """

    def __init__(self, seed: int, epoch: int, index: int) -> None:
        self._key = (seed, epoch, index)

    @cached_property
    def python(self) -> random.Random:
        """Generator of Python, from which most transforms draw."""
        return random.Random("-".join(map(str, self._key)))

    @cached_property
    def numpy(self) -> np.random.Generator:
        """Generator of numpy; as costly to make as a flip of ten images, so made when it is needed."""
        return np.random.default_rng(self._key)
