"""Weights of the classes in the training loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hemai.errors import UserError


def check_class_weights(weights: Any, classes: Sequence[str]) -> None:
    """Refuse what is neither one finite number from 0 for each class, nor "balanced", nor None: equal weights.

    Raises:
        UserError: With what was expected.
    """
    if weights in (None, "balanced"):
        return
    numbers = () if isinstance(weights, str) else weights
    fits = len(numbers) == len(classes) and all(isinstance(n, (int, float)) and 0 <= n < math.inf for n in numbers)
    if not fits or sum(numbers) <= 0:
        expected = f"balanced, or {len(classes)} numbers from 0 for {', '.join(classes)}"
        raise UserError(f"model.class_weights={weights}: expected {expected}")


def balanced_class_weights(counts: Sequence[int]) -> list[float]:
    """Weights inversely proportional to the number of training images of each class; their mean over images is 1.

    Args:
        counts: Training images of each class.
    """
    return [sum(counts) / (len(counts) * count) for count in counts]
