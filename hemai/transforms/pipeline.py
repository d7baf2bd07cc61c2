"""The image pipeline: deterministic preparation, random augmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import albumentations as A

from hemai.transforms.segment import SegmentNucleus

Transforms = Mapping[str, A.BasicTransform] | Sequence[A.BasicTransform]


class ImagePipeline:
    """Transforms of uint8 RGB images: deterministic preparation and random augmentation.

    Args:
        prepare: Deterministic transforms; applied once and cached, and stored in every checkpoint, so
            that prediction repeats them. They end with a resize to the network's input. A list, or a
            mapping whose keys name the transforms on the command line.
        augment: Random transforms that keep the size; applied to training images only.

    Attributes:
        prepare_spec: `prepare` as plain data, which `albumentations.from_dict` reads.
        prepare_spec_without_segmentation: `prepare_spec` without `SegmentNucleus`.
        has_segmentation: Whether `prepare` contains `SegmentNucleus`.
    """

    def __init__(self, prepare: Transforms, augment: Transforms | None = None) -> None:
        self.prepare = _as_list(prepare)
        for transform in self.prepare:
            if not isinstance(transform, A.BasicTransform):
                raise ValueError(
                    f"transform.prepare: {transform.__class__.__name__} contains other transforms; list them one by one"
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
    return [transform for transform in listed if transform is not None]  # null on the command line removes a transform


def _as_plain_data(transforms: list[A.BasicTransform]) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(A.to_dict(A.Compose(transforms, strict=True))))
    return spec
