"""The random transforms of one image."""

from __future__ import annotations

import albumentations as A
import numpy as np

from hemai.transforms.direct import direct_function
from hemai.transforms.random_numbers import RandomNumbers
from hemai.utils.errors import UserError


class Augmentation:
    """The random transforms of a pipeline, one after the other.

    Makes the same bytes as `compose(image=image)` with the same random numbers. Those that `hemai.transforms.direct`
    knows are applied without albumentations' bookkeeping, which costs more than most of them do; others as they are.

    Args:
        compose: Transforms that keep uint8 and the size of an image.
    """

    def __init__(self, compose: A.Compose) -> None:
        self._steps = [(transform, direct_function(transform)) for transform in compose.transforms]

    def __call__(self, image: np.ndarray, numbers: RandomNumbers) -> np.ndarray:
        """Augment an image.

        Args:
            image: uint8 RGB, (height, width, 3).
            numbers: Its random numbers.

        Raises:
            UserError: A transform fails, or changes type or size of the image.
        """
        augmented = image
        numbers.python.random()  # a Compose draws whether to run, though its p is 1
        try:
            for transform, apply in self._steps:
                if apply is None:
                    transform.set_random_state(numbers.numpy, numbers.python)
                    augmented = transform(image=augmented)["image"]
                elif transform.p >= 1 or numbers.python.random() < transform.p:
                    augmented = apply(transform, augmented, numbers)
        except Exception as error:
            raise UserError(f"transform.augment fails: {error}") from error
        if augmented.dtype != np.uint8 or augmented.shape != image.shape:
            raise UserError(
                f"transform.augment makes {augmented.dtype} images of shape {augmented.shape}, expected uint8 RGB of "
                f"{image.shape}; move a change of size to transform.prepare, and set the normalization with model.mean "
                "and model.sd instead"
            )
        return augmented
