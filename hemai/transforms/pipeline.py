"""The image pipeline: deterministic preparation, random augmentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import albumentations as A

from hemai.transforms.segment import SegmentNucleus
from hemai.utils.errors import UserError

Transforms = Mapping[str, A.BasicTransform] | Sequence[A.BasicTransform]


class ImagePipeline:
    """Transforms of uint8 RGB images: deterministic preparation and random augmentation.

    Args:
        prepare: Deterministic transforms; applied once and cached, and stored in every checkpoint, so
            that prediction repeats them. They end with a resize to the network's input. A list, or a
            mapping whose keys name the transforms on the command line.
        augment: Random transforms that keep uint8 and the size; applied to training images only.

    Attributes:
        prepare_spec: `prepare` as plain data, which `albumentations.from_dict` reads.
        prepare_spec_without_segmentation: `prepare_spec` without `SegmentNucleus`.
        has_segmentation: Whether `prepare` contains `SegmentNucleus`.

    Raises:
        UserError: Not a list of transforms, or a random one or a composition in `prepare`.
    """

    def __init__(self, prepare: Transforms, augment: Transforms | None = None) -> None:
        self.prepare = _as_list("prepare", prepare)
        for transform in self.prepare:
            if not isinstance(transform, A.BasicTransform):
                raise UserError(
                    f"transform.prepare: {transform.__class__.__name__} contains other transforms; list them one by one"
                )
            if transform.p < 1:
                raise UserError(
                    f"transform.prepare: {transform.__class__.__name__} is random (p={transform.p}); move it to augment"
                )
        self.augment = A.Compose(listed, strict=True) if (listed := _as_list("augment", augment or [])) else None
        unsegmented = [transform for transform in self.prepare if not isinstance(transform, SegmentNucleus)]
        self.has_segmentation = len(unsegmented) < len(self.prepare)
        self.prepare_spec, self.prepare_spec_without_segmentation = (
            _as_plain_data(self.prepare),
            _as_plain_data(unsegmented),
        )


def _as_list(place: str, transforms: Transforms) -> list[A.BasicTransform]:
    expected = "expected a list of transforms, such as [albumentations.Resize(128, 128)]"
    listed = transforms.values() if isinstance(transforms, Mapping) else transforms
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise UserError(f"transform.{place}: found {type(listed).__name__}, {expected}")
    found = [transform for transform in listed if transform is not None]  # null on the command line removes a transform
    for transform in found:
        if isinstance(transform, type):
            raise UserError(f"transform.{place}: {transform.__name__} is a class; call it: {transform.__name__}(...)")
        if not isinstance(transform, A.BasicTransform | A.BaseCompose):
            raise UserError(f"transform.{place}: found {transform!r}, which is no transform; {expected}")
    return found


def _as_plain_data(transforms: list[A.BasicTransform]) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(A.to_dict(A.Compose(transforms, strict=True))))
    return spec
