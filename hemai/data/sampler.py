"""Which images a device sees, in which order: numbers alone decide, no state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for training; the order follows from (seed, epoch).

    Every device draws the same global batches and takes its share of each, so that one and several
    devices train on the same ones. The last, short batch is cut to a multiple of the devices, and left
    out where a device would get a single image: gradients are then averaged exactly, and BatchNorm
    has something to average.

    Args:
        images: Number of images.
        batch_size: Images in a global batch, over all devices; rounded down to a multiple of them.
        seed: Of the order.
        rank, world_size: This device, and how many there are.
        shares: Probability of each image, (images,): an epoch then draws as many images with replacement.
            None: every image once.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shares: np.ndarray | None = None,
    ) -> None:
        self.images, self.batch_size, self.seed = images, batch_size // world_size * world_size, seed
        self.shares = shares
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Go on in mid-epoch: the next iteration leaves out the first `batch` batches."""
        self.epoch, self.first_batch = epoch, batch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        full, rest = divmod(self.images, self.batch_size)
        smallest = self.world_size * min(2, self.batch_size // self.world_size)
        return full + (rest >= smallest)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self.epoch, self.first_batch
        self.first_batch = 0
        rng = np.random.default_rng((self.seed, epoch))
        order = (
            rng.permutation(self.images) if self.shares is None else rng.choice(self.images, self.images, p=self.shares)
        )
        for batch in range(first, len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            indices = indices[: len(indices) // self.world_size * self.world_size]
            yield [(epoch, int(index)) for index in indices[self.rank :: self.world_size]]


def balanced_shares(targets: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """The probability of each image that makes all classes equally frequent.

    Args:
        targets: Of the images, (N,).
        groups: Of the images, (N,): within a class every group is then equally frequent too.

    Returns:
        float (N,), sum 1.
    """
    shares = np.zeros(len(targets))
    classes = np.unique(targets)
    for target in classes:
        rows = np.flatnonzero(targets == target)
        parts = np.zeros(len(rows), int) if groups is None else groups[rows]
        _, part_of, sizes = np.unique(parts, return_inverse=True, return_counts=True)
        shares[rows] = 1 / len(classes) / len(sizes) / sizes[part_of]
    return shares


class OnceSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) in which every image stands, for validation and tests.

    Several devices must run the same number of batches, so the list is padded with its own first
    images; a result is kept by its index, so that each image counts once.

    Args:
        images: Number of images.
        batch_size: Images in a batch of this device.
        rank, world_size: This device, and how many there are.
    """

    def __init__(self, images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.batch_size = batch_size
        each = -(-images // world_size)
        self.indices = np.resize(np.arange(images), each * world_size)[rank::world_size]

    def __len__(self) -> int:
        """Batches of this device."""
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, int(index)) for index in self.indices[start : start + self.batch_size]]
