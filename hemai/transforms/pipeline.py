"""The image pipeline: deterministic preparation, random augmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import albumentations as A

from hemai.transforms.segment import SegmentNucleus

Transforms = Mapping[str, A.BasicTransform] | Sequence[A.BasicTransform]


class ImagePipeline:
    """Transforms of uint8 RGB images, in two parts.

    Args:
        prepare: Deterministic; done once and cached, and stored in every checkpoint, so that
            prediction does the same. It ends with a resize to the network's input. A list, or a
            mapping with names by which the command line reaches each transform.
        augment: Random; training images only. It keeps the size.

    Attributes:
        prepare_spec: `prepare` as plain data, from which `albumentations.from_dict` makes it again.
        prepare_spec_without_segmentation: The same without `SegmentNucleus`.
        has_segmentation: Whether `SegmentNucleus` is in it.
    """

    def __init__(self, prepare: Transforms, augment: Transforms | None = None) -> None:
        self.prepare = _as_list(prepare)
        for transform in self.prepare:
            if not isinstance(transform, A.BasicTransform):
                raise ValueError(
                    f"transform.prepare: {transform.__class__.__name__} holds other transforms; list them one by one"
                )
            if transform.p < 1:
                raise ValueError(
                    f"transform.prepare: {transform.__class__.__name__} is random (p={transform.p}); move it to augment"
                )
        self.augment = A.Compose(_as_list(augment), strict=True) if augment else None
        unsegmented = [transform for transform in self.prepare if not isinstance(transform, SegmentNucleus)]
        self.has_segmentation = len(unsegmented) < len(self.prepare)
        self.prepare_spec, self.prepare_spec_without_segmentation = (
            _as_plain_data(self.prepare),
            _as_plain_data(unsegmented),
        )


def _as_list(transforms: Transforms) -> list[A.BasicTransform]:
    listed = transforms.values() if isinstance(transforms, Mapping) else transforms
    return [transform for transform in listed if transform is not None]  # null on the command line: left out


def _as_plain_data(transforms: list[A.BasicTransform]) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(A.to_dict(A.Compose(transforms, strict=True))))
    return spec
