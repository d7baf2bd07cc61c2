"""Samplers that assign images to devices, in an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch.distributed as dist
from torch.utils.data import DistributedSampler

from hemai.utils.errors import UserError


def current_device() -> tuple[int, int]:
    """Rank of this process and number of processes: (0, 1) where training is not distributed."""
    is_distributed = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if is_distributed else (0, 1)


class _ImageSampler(DistributedSampler[list[tuple[int, int]]]):
    """Base of samplers that split images between devices; as a `DistributedSampler`, no Trainer replaces it.

    Args:
        images: Number of images.
        rank, world_size: Rank of this device and number of devices; None: read from torch.distributed when batches
            are made, since a loader may be built before the Trainer starts its processes.
    """

    def __init__(self, images: int, rank: int | None = None, world_size: int | None = None) -> None:
        super().__init__(range(images), num_replicas=1, rank=0)  # type: ignore[arg-type]  # only its length is used
        self.images = images
        self._device = None if rank is None or world_size is None else (rank, world_size)

    @property
    def device(self) -> tuple[int, int]:
        """Rank and number of devices."""
        return self._device or current_device()


class ResumableBatchSampler(_ImageSampler):
    """Training batches of (epoch, index), in an order that follows from (seed, epoch).

    Every device computes the same global batches and takes its part of each, so one device and several
    train on the same batches. The last, short batch is cut to a multiple of the number of devices, and
    dropped if a device would get a single image: gradients are then averaged exactly, and BatchNorm has
    more than one image to average.

    Args:
        images: Number of images.
        batch_size: Images in a global batch, over all devices; rounded down to a multiple of their number.
        seed: Seed of the order.
        rank, world_size: Rank of this device and number of devices; None: read from torch.distributed.
        probabilities: Probability of sampling each image, (images,): an epoch then samples as many images,
            with replacement. None: every image once.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        seed: int,
        rank: int | None = None,
        world_size: int | None = None,
        probabilities: np.ndarray | None = None,
    ) -> None:
        super().__init__(images, rank, world_size)
        self.global_batch_size, self.seed, self.probabilities = batch_size, seed, probabilities
        self.first_batch = 0

    @property
    def batch_size(self) -> int:
        """Images in a global batch, a multiple of the number of devices."""
        world_size = self.device[1]
        return self.global_batch_size // world_size * world_size

    def set_epoch(self, epoch: int) -> None:
        """Start another epoch from its first batch; Lightning calls this at the start of every epoch."""
        if epoch != self.epoch:
            self.resume_at(epoch, 0)

    def resume_at(self, epoch: int, batch: int) -> None:
        """Resume in mid-epoch: the next iteration skips the first `batch` batches."""
        self.epoch, self.first_batch = epoch, batch

    def __len__(self) -> int:
        """Number of batches of a whole epoch."""
        world_size = self.device[1]
        if not self.batch_size:
            raise UserError(
                f"batch_size={self.global_batch_size} for {world_size} devices: expected at least 1 image per device"
            )
        full, rest = divmod(self.images, self.batch_size)
        smallest = world_size * min(2, self.batch_size // world_size)
        return full + (rest >= smallest)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self.epoch, self.first_batch
        self.first_batch = 0
        rank, world_size = self.device
        rng = np.random.default_rng((self.seed, epoch))
        weights = self.probabilities
        order = rng.permutation(self.images) if weights is None else rng.choice(self.images, self.images, p=weights)
        for batch in range(first, len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            indices = indices[: len(indices) // world_size * world_size]
            yield [(epoch, int(index)) for index in indices[rank::world_size]]


def balanced_probabilities(targets: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Probability of sampling each image that makes all classes equally frequent.

    Args:
        targets: Class index of each image, (N,).
        groups: Group of each image, (N,): within a class every group is then equally frequent too. None: ignored.

    Returns:
        float (N,), sum 1.
    """
    probabilities = np.zeros(len(targets))
    classes = np.unique(targets)
    for target in classes:
        rows = np.flatnonzero(targets == target)
        parts = np.zeros(len(rows), int) if groups is None else groups[rows]
        _, part_of, sizes = np.unique(parts, return_inverse=True, return_counts=True)
        probabilities[rows] = 1 / len(classes) / len(sizes) / sizes[part_of]
    return probabilities


class EvaluationSampler(_ImageSampler):
    """Batches of (epoch, index) that cover every image, for validation, test and prediction.

    Several devices must run the same number of batches, so the list is padded with its own first
    images; results are stored by index, so each image counts once.

    Args:
        images: Number of images.
        batch_size: Images in a batch over all devices.
        rank, world_size: Rank of this device and number of devices; None: read from torch.distributed.
    """

    def __init__(self, images: int, batch_size: int, rank: int | None = None, world_size: int | None = None) -> None:
        super().__init__(images, rank, world_size)
        self.global_batch_size = batch_size

    def _plan(self) -> tuple[np.ndarray, int]:
        """Indices of this device, and its number of images per batch."""
        rank, world_size = self.device
        per_device = -(-self.images // world_size)
        indices = np.resize(np.arange(self.images), per_device * world_size)[rank::world_size]
        return indices, max(1, self.global_batch_size // world_size)

    def __len__(self) -> int:
        """Number of batches of this device."""
        indices, batch_size = self._plan()
        return -(-len(indices) // batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        indices, batch_size = self._plan()
        for start in range(0, len(indices), batch_size):
            yield [(0, int(index)) for index in indices[start : start + batch_size]]
