"""Batches of tensors from a cache, and loaders that resume in mid-epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hemai.data.sampler import ResumableBatchSampler
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

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
        recipe: ImagePipeline | None = None,
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


def split_of(loaders: Any, dataloader_idx: int, default: str) -> str:
    """Name of the split that a loader reads.

    Args:
        loaders: One or several, as a Trainer holds them.
        dataloader_idx: Which of several.
        default: Name where the data do not tell.

    Returns:
        The name, with the number of the loader where an earlier one has the same.
    """
    several = loaders if isinstance(loaders, Sequence) else [loaders]
    names = [getattr(getattr(loader, "dataset", None), "split", None) or default for loader in several]
    name = str(names[dataloader_idx])
    return f"{name}_{dataloader_idx}" if name in names[:dataloader_idx] else name


class ResumableDataLoader(DataLoader[Batch]):
    """A loader whose place in the epoch every Lightning Trainer saves and restores with its checkpoints.

    Takes the arguments of `torch.utils.data.DataLoader`; `sampler` is a `ResumableBatchSampler`.
    """

    sampler: ResumableBatchSampler
    _batches = 0  # that were handed out in this epoch: workers read ahead, so the sampler does not know

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._batches = self.sampler.first_batch
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch and number of batches that were handed out."""
        return {"epoch": self.sampler.epoch, "batch": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration begin after these batches; after the last one, with the next epoch."""
        epoch, batch = state_dict["epoch"], state_dict["batch"]
        epoch, batch = (epoch + 1, 0) if batch >= len(self.sampler) else (epoch, batch)
        self.sampler.resume_at(epoch, batch)
        self._batches = batch
