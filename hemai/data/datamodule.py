"""From a data set to batches of uint8 images."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from torch.utils.data import DataLoader, Dataset

from hemai.data import splits
from hemai.data.cache import Cache, load_cache
from hemai.data.dataset import CellDataset
from hemai.data.sampler import EpochSampler, OnceSampler
from hemai.errors import UserError, some
from hemai.transforms import Recipe

Batch = dict[str, torch.Tensor]


class CellImages(Dataset[Batch]):
    """Some rows of a cache, read a batch at a time.

    Args:
        images: uint8, shape (N, height, width, 3); all images of the data set.
        rows: Rows of `images` that belong to this split; an index counts in `rows`.
        targets: int64, one for each of `rows`.
        recipe: Its random transforms are applied; `None`: images stay as they are.
        seed: With epoch and index it decides each image's augmentation.
    """

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, targets: np.ndarray, recipe: Recipe | None, seed: int
    ) -> None:
        self.images, self.rows, self.targets = images, rows, targets
        self.augment = recipe.augment if recipe else None
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """A batch of (epoch, index).

        Returns:
            `image`: uint8, (B, 3, height, width) in channels-last memory, 0..255; `target` and
            `index`: int64, (B,).
        """
        index = np.fromiter((index for _, index in items), np.int64, len(items))
        images = self.images[self.rows[index]]
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


class CellDataModule(pl.LightningDataModule):
    """A data set, its split, its cache and its loaders.

    Args:
        dataset: Dotted name of a `CellDataset`, such as `hemai.data.CNMC`.
        transform: What is done to the images.
        root: Folder of the images.
        split, fold, folds: See `hemai.data.splits.split_table`.
        batch_size: Images in a training batch over all devices.
        num_workers: Processes that read images for each device; "auto": none on a CPU, where they
            would take the network's cores, and up to 8 for a GPU.
        skip_unreadable: Go on without images that cannot be read, instead of stopping.
        seed: Of split, order and augmentation.
        **options: Further arguments of the data set.

    Raises:
        UserError: The data set does not fit what it should be, or the split is impossible.
    """

    dataset: CellDataset
    table: pd.DataFrame  # of the data set, with the columns `split` and `content`
    cache: Cache
    leakage: splits.Leakage

    def __init__(
        self,
        dataset: str,
        transform: Recipe,
        root: str | None,
        split: str = "group",
        fold: int = 0,
        folds: int = 5,
        batch_size: int = 32,
        num_workers: int | str = "auto",
        skip_unreadable: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: expected 1 or more")
        self.dataset = get_class(dataset)(root, **options)
        self.transform, self.split, self.fold, self.folds = transform, split, fold, folds
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.skip_unreadable = skip_unreadable
        self.train_sampler: EpochSampler | None = None
        self._position = (0, 0)
        self._ready = False

    def setup(self, stage: str | None = None) -> None:
        """Check the data set, open or build the cache, split. Later calls do nothing."""
        if self._ready:
            return
        self.dataset.check()
        table = self.dataset.table
        self.cache = load_cache(self.dataset.name, self.dataset.root, table["path"].tolist(), self.transform.spec)
        table = table.assign(row=np.arange(len(table)), content=self.cache.content)
        table = self._readable(table)
        tied = splits.tie_duplicates(table, table["content"].to_numpy())
        self.groups_joined = table["group"].nunique() - tied.nunique()
        table["group"] = tied
        external = self.dataset.external
        table["split"] = splits.split_table(table, self.split, self.seed, self.fold, self.folds, external)
        self.leakage = splits.count_leakage(table, table["split"], table["content"].to_numpy())
        # Categories instead of repeated texts: memory that hardly grows with the number of images.
        self.table = table.astype({"label": "category", "group": "category", "fold": "category", "split": "category"})
        self.targets = pd.Categorical(table["label"], categories=list(self.dataset.classes)).codes.astype(np.int64)
        self.rows = {name: np.flatnonzero(table["split"] == name) for name in self.split_names()}
        self._check_splits()
        self._ready = True

    def _readable(self, table: pd.DataFrame) -> pd.DataFrame:
        bad = self.cache.errors != ""
        if not bad.any():
            return table
        if not self.skip_unreadable:
            listed = "\n".join(f"  {p}: {e}" for p, e in zip(table["path"][bad], self.cache.errors[bad], strict=True))
            raise UserError(
                f"{bad.sum()} unreadable images under {self.dataset.root}:\n{listed}\n"
                "replace them, or go on without them with data.skip_unreadable=true"
            )
        self.dataset.notes.append(f"{bad.sum()} unreadable images are left out (data.skip_unreadable=true)")
        return table[~bad].reset_index(drop=True)

    def _check_splits(self) -> None:
        for name, rows in self.rows.items():
            missing = [c for t, c in enumerate(self.dataset.classes) if t not in self.targets[rows]]
            if missing and name == "train":
                raise UserError(f"data.split={self.split}: no training image of class {some(missing)}")
            if missing:
                self.dataset.notes.append(f"no image of class {some(missing)} in {name}: its figures lack them")

    def split_names(self) -> list[str]:
        """train, val, test, and the external test sets that are there."""
        there = set(self.table["split"])
        return [name for name in ("train", "val", "test", *self.dataset.external) if name in there]

    def split_hash(self) -> str:
        """Fingerprint of the split; see `hemai.data.splits.split_hash`."""
        return splits.split_hash(self.table, self.table["split"])

    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return np.bincount(self.targets[self.rows["train"]], minlength=len(self.dataset.classes)).tolist()

    def facts(self) -> dict[str, Any]:
        """What a checkpoint tells of its data, as plain data."""
        return {
            "data": self.dataset.name,
            "group_kind": self.dataset.group_kind,
            "split": self.split,
            "split_hash": self.split_hash(),
            "prepare": self.transform.spec,
        }

    # ------------------------------------------------------------------ loaders

    def images(self, split: str, augmented: bool = False) -> CellImages:
        """The images of one split."""
        rows = self.rows[split]
        memory_rows = self.table["row"].to_numpy()[rows]
        recipe = self.transform if augmented else None
        return CellImages(self.cache.images, memory_rows, self.targets[rows], recipe, self.seed)

    def _devices(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, images: CellImages, sampler: EpochSampler | OnceSampler) -> DataLoader[Batch]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        workers = self.num_workers
        if workers == "auto":
            workers = min(8, (os.cpu_count() or 1) // self._devices()[1]) if on_cuda else 0
        return DataLoader(
            images,
            sampler=sampler,
            batch_size=None,  # the sampler makes the batches, and Lightning tells it the epoch
            num_workers=int(workers),
            persistent_workers=int(workers) > 0,
            pin_memory=on_cuda,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Augmented training images in random order, from where a resumed run stopped."""
        images, (rank, devices) = self.images("train", augmented=True), self._devices()
        if self.batch_size < devices:
            raise UserError(f"data.batch_size={self.batch_size} for {devices} devices: it counts images over all")
        self.train_sampler = EpochSampler(len(images), self.batch_size, self.seed, rank, devices)
        self.train_sampler.start_at(*self._position)
        if len(self.train_sampler) == 0:
            raise UserError(f"{len(images)} training images for {devices} devices: expected 2 a device or more")
        return self._loader(images, self.train_sampler)

    def eval_dataloader(self, split: str) -> DataLoader[Batch]:
        """Every image of a split, as it is."""
        images, (rank, devices) = self.images(split), self._devices()
        # Without gradients there is room for more; and a batch of one device never changes a figure.
        batch_size = max(1, self.batch_size * 2 // devices)
        return self._loader(images, OnceSampler(len(images), batch_size, rank, devices))

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images."""
        return self.eval_dataloader("val")

    def start_at(self, epoch: int, batch: int) -> None:
        """Let the next training loader begin with this batch of this epoch."""
        self._position = (epoch, batch)
