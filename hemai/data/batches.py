"""Batches of tensors from a cache, and loaders that resume in mid-epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hemai.data.sampler import ResumableBatchSampler, current_device
from hemai.transforms import ImagePipeline
from hemai.transforms.augmentation import Augmentation
from hemai.transforms.random_numbers import RandomNumbers
from hemai.utils.errors import UserError

Batch = dict[str, torch.Tensor]


class CellImages(Dataset[Batch]):
    """Images of one split, read from one or more caches a batch at a time.

    Args:
        caches: Arrays with all images of the data set, prepared in different ways; uint8, (N, height, width, 3).
        rows: Rows of this split. Index i is row `rows[i % len(rows)]` of cache `i // len(rows)`.
        targets: Class index of each of `rows`, int64.
        pipeline: Pipeline whose random transforms are applied; None: no augmentation.
        seed: Seed of the augmentation, combined with epoch and index.
        split: Name under which the metrics of these images are logged.
    """

    def __init__(
        self,
        caches: Sequence[np.ndarray],
        rows: np.ndarray,
        targets: np.ndarray,
        pipeline: ImagePipeline | None = None,
        seed: int = 0,
        split: str | None = None,
    ) -> None:
        self.caches, self.rows = caches, rows
        self.targets = np.tile(targets, len(caches))
        self.augment = Augmentation(pipeline.augment) if pipeline and pipeline.augment else None
        self.seed, self.split = seed, split

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """Batch of the images with these (epoch, index) pairs.

        Returns:
            `image`: uint8, (B, 3, height, width) in channels-last memory, 0..255; `target` and
            `index`: int64, (B,).

        Raises:
            UserError: The augmentation fails, or changes type or size of an image.
        """
        if isinstance(items, int):
            raise UserError("overfit_batches replaces the sampler; use limit_train_batches and limit_val_batches")
        index = np.fromiter((index for _, index in items), np.int64, len(items))
        version, position = np.divmod(index, len(self.rows))
        rows = self.rows[position]
        images = self.caches[0][rows]
        for other in range(1, len(self.caches)):
            images[version == other] = self.caches[other][rows[version == other]]
        if self.augment is not None:
            for image, item in zip(images, items, strict=True):
                image[:] = self.augment(image, RandomNumbers(self.seed, *item))
        return {
            # Pixels lie channels-last on disk; a permuted view of them costs nothing.
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "target": torch.from_numpy(self.targets[index]),
            "index": torch.from_numpy(index),
        }


def split_of(loaders: Any, dataloader_idx: int, default: str) -> str:
    """Name of the split that a loader reads.

    Args:
        loaders: One loader or a list, as a Trainer holds them.
        dataloader_idx: Position of the loader in the list.
        default: Name for a loader whose data set has no `split`.

    Returns:
        The name; followed by the position of the loader if an earlier one has the same name.
    """
    listed = loaders if isinstance(loaders, Sequence) else [loaders]
    names = [getattr(getattr(loader, "dataset", None), "split", None) or default for loader in listed]
    name = str(names[dataloader_idx])
    return f"{name}_{dataloader_idx}" if name in names[:dataloader_idx] else name


class ResumableDataLoader(DataLoader[Batch]):
    """A loader whose position in the epoch is saved in every Lightning checkpoint and restored from it.

    Takes the arguments of `torch.utils.data.DataLoader`; `sampler` is a `ResumableBatchSampler`.
    """

    sampler: ResumableBatchSampler
    _batches = 0  # yielded in this epoch: workers read ahead, so the sampler does not know

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._batches = self.sampler.first_batch
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch, and number of its batches yielded so far."""
        return {"epoch": self.sampler.epoch, "batch": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume after these batches; if they are the whole epoch, with the next one."""
        epoch, batch = state_dict["epoch"], state_dict["batch"]
        epoch, batch = (epoch + 1, 0) if batch >= len(self.sampler) else (epoch, batch)
        self.sampler.resume_at(epoch, batch)
        self._batches = batch


def loader_options(sampler: Sampler[list[tuple[int, int]]], num_workers: int | str, on_cuda: bool) -> dict[str, Any]:
    """Arguments of a DataLoader whose sampler makes the batches.

    Args:
        sampler: Sampler of batches of (epoch, index).
        num_workers: Processes that read images; "auto": up to 8 for each GPU, none on a CPU.
        on_cuda: Whether the batches go to a GPU.
    """
    if num_workers == "auto":  # on a CPU they would take cores from the network
        num_workers = min(8, (os.cpu_count() or 1) // current_device()[1]) if on_cuda else 0
    if int(num_workers) > 0:
        cv2.setNumThreads(1)  # workers inherit it: one thread each, and no lock that another thread held
    return {
        "sampler": sampler,
        "batch_size": None,  # the sampler makes the batches, and Lightning sets its epoch
        "num_workers": int(num_workers),
        "persistent_workers": int(num_workers) > 0,
        "pin_memory": on_cuda,
    }
