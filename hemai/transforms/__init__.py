"""What is done to an image between file and network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import albumentations as A


class Recipe:
    """Transforms of uint8 RGB images, in two lists.

    Args:
        prepare: Deterministic; done once and cached, and stored in every checkpoint, so that
            prediction does the same. It ends with a resize to the network's input.
        augment: Random; training images only. It keeps the size.

    Attributes:
        spec: `prepare` as plain data, from which `albumentations.from_dict` makes it again.
    """

    def __init__(self, prepare: Sequence[A.BasicTransform], augment: Sequence[A.BasicTransform] | None = None) -> None:
        self.prepare = list(prepare)
        for transform in self.prepare:
            if transform.p < 1:
                raise ValueError(
                    f"transform.prepare: {transform.__class__.__name__} is random (p={transform.p}); move it to augment"
                )
        self.augment = A.Compose(list(augment), strict=True) if augment else None
        self.spec: dict[str, Any] = json.loads(json.dumps(A.to_dict(A.Compose(self.prepare, strict=True))))
