"""Images of one split as batches of tensors."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from hemai.errors import UserError
from hemai.transforms import Recipe

Batch = dict[str, torch.Tensor]


class CellImages(Dataset[Batch]):
    """Some rows of one cache, or of several that hold versions of the same images, read a batch at a time.

    Args:
        versions: Each uint8, shape (N, height, width, 3); all images of the data set.
        rows: Rows that belong to this split. An index counts in `rows`, once for each version.
        targets: int64, one for each of `rows`.
        recipe: Its random transforms are applied; `None`: images stay as they are.
        seed: With epoch and index it decides each image's augmentation.
        split: Name of the split, under which the metrics of these images are logged.
    """

    def __init__(
        self,
        versions: Sequence[np.ndarray],
        rows: np.ndarray,
        targets: np.ndarray,
        recipe: Recipe | None = None,
        seed: int = 0,
        split: str | None = None,
    ) -> None:
        self.versions, self.rows = versions, rows
        self.targets = np.tile(targets, len(versions))
        self.augment = recipe.augment if recipe else None
        self.seed, self.split = seed, split

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """A batch of (epoch, index).

        Returns:
            `image`: uint8, (B, 3, height, width) in channels-last memory, 0..255; `target` and
            `index`: int64, (B,).
        """
        if isinstance(items, int):
            raise UserError("overfit_batches takes the sampler away; use limit_train_batches and limit_val_batches")
        index = np.fromiter((index for _, index in items), np.int64, len(items))
        version, place = np.divmod(index, len(self.rows))
        rows = self.rows[place]
        images = self.versions[0][rows]
        for other in range(1, len(self.versions)):
            images[version == other] = self.versions[other][rows[version == other]]
        if self.augment is not None:
            for image, item in zip(images, items, strict=True):
                image[:] = self._augmented(image, *item)
        return {
            # Pixels lie channels-last on disk; a permuted view of them costs nothing.
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "target": torch.from_numpy(self.targets[index]),
            "index": torch.from_numpy(index),
        }

    def _augmented(self, image: np.ndarray, epoch: int, index: int) -> np.ndarray:
        # albumentations knows neither worker nor epoch: two workers would draw the same stream.
        assert self.augment is not None
        generator = np.random.default_rng((self.seed, epoch, index))
        self.augment.set_random_state(generator, random.Random(f"{self.seed}-{epoch}-{index}"))
        return self.augment(image=image)["image"]
