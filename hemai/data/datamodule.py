"""The data module: from a data set to batches of uint8 images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from hemai.data.batches import Batch, CellImages, ResumableDataLoader, loader_options
from hemai.data.cache import Cache, load_cache, readable_rows
from hemai.data.dataset import CellDataset, make_dataset
from hemai.data.image_files import MAX_MEGAPIXELS, conversion_note
from hemai.data.leakage import Leakage, count_leakage, merge_duplicate_groups
from hemai.data.permuted import PERMUTED, permute_labels
from hemai.data.sampler import EvaluationSampler, ResumableBatchSampler, balanced_probabilities
from hemai.data.split_notes import note_missing
from hemai.data.splits import split_hash, split_table
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError, check_fraction, check_whole, shorten


class CellDataModule(pl.LightningDataModule):
    """Data set, split, cache and loaders, for any Lightning Trainer.

    Batches are mappings of `image` (uint8 RGB, (B, 3, height, width)), `target` (class index) and `index` (position
    in the split).

    Args:
        dataset: A `CellDataset`, its class, or the dotted name of its class, such as `hemai.data.CNMC`.
        transform: Preparation and augmentation of the images.
        root: Folder of the images; None with an existing data set.
        split, fold, folds, allow_leakage: See `hemai.data.splits.split_table`.
        val_share, test_share: Fractions of the images, 0 for none. Without validation `monitor` must be null, without
            test nothing is tested.
        batch_size: Images in a training batch over all devices.
        num_workers: Processes that read images for each device; "auto": up to 8 for a GPU, none on a CPU.
        skip_unreadable: Skip unreadable images instead of raising an error.
        max_megapixels: Images of more millions of pixels count as unreadable, by their header.
        balance: Sample training images so that classes are equally frequent ("class"), and within each class
            its groups as well ("group"); None: every image once an epoch.
        add_segmented_twins: Train on every image and on its segmented twin; test on whole images. A twin is always in
            the split of its image. Source: Hosseini et al. 2023, where twins were split at random.
        permute_labels: Negative control: permute the labels between groups before the split, so that a network must be
            at chance, unless something leaks; see `hemai.data.permuted.permute_labels`.
        seed: Seed of split, order and augmentation.
        **options: Further arguments of the data set.

    Raises:
        UserError: A setting is out of range, files of the data set are invalid, or the split is impossible.
    """

    dataset: CellDataset
    table: pd.DataFrame  # of the data set, with columns such as `split` and `content` added
    cache: Cache
    caches: list[Cache]  # of the training images: prepared as for testing and, if wanted, segmented
    leakage: Leakage

    def __init__(
        self,
        dataset: CellDataset | type[CellDataset] | str,
        transform: ImagePipeline,
        root: str | os.PathLike[str] | None = None,
        split: str = "group",
        fold: int = 0,
        folds: int = 5,
        allow_leakage: bool = False,
        val_share: float = 0.15,
        test_share: float = 0.15,
        batch_size: int = 32,
        num_workers: int | str = "auto",
        skip_unreadable: bool = False,
        max_megapixels: int = MAX_MEGAPIXELS,
        balance: str | None = None,
        add_segmented_twins: bool = False,
        permute_labels: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(transform, ImagePipeline):
            raise UserError(f"transform: found {type(transform).__name__}, expected an ImagePipeline")
        if not isinstance(split, str):
            raise UserError(f"data.split={split}: expected the name of a rule, or a csv file")
        check_whole("data.batch_size", batch_size, 1)
        check_whole("data.seed", seed, 0)
        check_whole("data.fold", fold, 0)
        check_whole("data.folds", folds, 2)
        if num_workers != "auto":
            check_whole("data.num_workers", num_workers, 0, ", or auto")
        check_whole("data.max_megapixels", max_megapixels, 1)
        for name, fraction in (("val_share", val_share), ("test_share", test_share)):
            check_fraction(f"data.{name}", fraction)
        if val_share + test_share >= 1:
            raise UserError(f"data.val_share={val_share}, data.test_share={test_share}: expected a sum below 1")
        self.dataset = make_dataset(dataset, root, options)
        self.dataset.max_megapixels = max_megapixels
        self.transform, self.split, self.fold, self.folds = transform, split, fold, folds
        self.allow_leakage = allow_leakage
        self.shares = {"train": 1 - val_share - test_share, "val": val_share, "test": test_share}
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.skip_unreadable = skip_unreadable
        if add_segmented_twins and not transform.has_segmentation:
            raise UserError(
                "data.add_segmented_twins=true: the transform has no SegmentNucleus to make twins with; "
                "choose transform=segmented or transform=hosseini"
            )
        # How new images are prepared: twins are for training alone.
        self.prepare = transform.prepare_spec_without_segmentation if add_segmented_twins else transform.prepare_spec
        self.add_segmented_twins = add_segmented_twins
        if balance not in (None, "class", "group"):
            raise UserError(f"data.balance={balance}: expected class, group, or null for every image once")
        self.balance, self.permute_labels = balance, permute_labels
        self._ready = False

    def prepare_data(self) -> None:
        """Check the data set and build its cache, once per node, before `setup` opens it."""
        if not self._ready:
            self.dataset.check()
            self._load_caches()

    def setup(self, stage: str | None = None) -> None:
        """Open the cache (build it if `prepare_data` did not) and split the images. Later calls do nothing."""
        if self._ready:
            return
        self.dataset.check()
        table, self.caches = self.dataset.table, self._load_caches()
        self.cache = self.caches[0]
        no_nucleus = self.caches[-1].no_nucleus
        table = table.assign(row=np.arange(len(table)), content=self.cache.content, crc32=self.cache.crc32)
        table["no_nucleus"] = no_nucleus
        table = self._readable(table)
        merged = merge_duplicate_groups(table, table["content"].to_numpy())
        self.n_merged_groups = table["group"].nunique() - merged.nunique()
        table["group"] = merged
        if self.permute_labels:
            table["label"] = permute_labels(table, self.seed)
            self.dataset.notes.append(PERMUTED.format(kind=self.dataset.group_kind))
        external = self.dataset.external
        table["split"] = split_table(
            table, self.split, self.seed, self.fold, self.folds, external, self.shares, self.allow_leakage
        )
        if self.add_segmented_twins:  # validation and test images are not segmented
            table["no_nucleus"] &= table["split"] == "train"
        if len(without := table["path"][table["no_nucleus"]]):
            self.dataset.notes.append(f"no nucleus found in {len(without):,} images: {shorten(without, most=3)}")
        self.leakage = count_leakage(table, table["split"], table["content"].to_numpy())
        # Categories instead of repeated texts: memory that hardly grows with the number of images.
        self.table = table.astype({"label": "category", "group": "category", "fold": "category", "split": "category"})
        self.targets = pd.Categorical(table["label"], categories=list(self.dataset.classes)).codes.astype(np.int64)
        self.rows = {name: np.flatnonzero(table["split"] == name) for name in self.split_names()}
        note_missing(self.dataset, self.split, self.rows, self.targets)
        self._ready = True
        if self.transform.augment and "train" in self.rows:  # fail here, not in mid-epoch; 16 draws, as p may be small
            self.images("train", augmented=True)[[(epoch, 0) for epoch in range(16)]]

    def _load_caches(self) -> list[Cache]:
        specs = [self.prepare] + [self.transform.prepare_spec] * self.add_segmented_twins
        dataset, paths = self.dataset, self.dataset.table["path"].tolist()
        return [load_cache(dataset.name, dataset.root, paths, spec, dataset.max_megapixels) for spec in specs]

    def _readable(self, table: pd.DataFrame) -> pd.DataFrame:
        errors = np.where(self.cache.errors != "", self.cache.errors, self.caches[-1].errors)
        rows = readable_rows(errors, table["path"], self.dataset.root, self.skip_unreadable)
        self.dataset.notes += conversion_note(self.cache.conversion)
        self.dataset.leave_out(len(table) - len(rows), "unreadable images (data.skip_unreadable=true)")
        return table.iloc[rows].reset_index(drop=True)

    def split_names(self) -> list[str]:
        """Names of the splits that have images: train, val, test and external test sets."""
        present = set(self.table["split"])
        return [name for name in ("train", "val", "test", *self.dataset.external) if name in present]

    def test_names(self) -> list[str]:
        """Names of the test sets that have images: test and external test sets."""
        return [name for name in self.split_names() if name not in ("train", "val")]

    def split_hash(self) -> str:
        """Fingerprint of the split; see `hemai.data.splits.split_hash`."""
        return split_hash(self.table, self.table["split"])

    def class_counts(self) -> list[int]:
        """Number of training images of each class."""
        return np.bincount(self.targets[self.rows["train"]], minlength=len(self.dataset.classes)).tolist()

    def metadata(self) -> dict[str, Any]:
        """Provenance of the data, as plain values for the checkpoint."""
        return {
            "data": self.dataset.name,
            "group_kind": self.dataset.group_kind,
            "split": self.split,
            "split_hash": self.split_hash(),
            "prepare": self.prepare,
            "segmented_twins": self.add_segmented_twins,
            "permuted_labels": self.permute_labels,
        }

    def images(self, split: str, augmented: bool = False) -> CellImages:
        """Images of one split as a torch data set."""
        if not self._ready:
            raise UserError("the data module is not set up; call setup() first, as a Trainer does")
        rows = self.rows[split]
        cache_rows = self.table["row"].to_numpy()[rows]
        caches = self.caches if augmented else [self.cache]
        pipeline = self.transform if augmented else None
        return CellImages([c.images for c in caches], cache_rows, self.targets[rows], pipeline, self.seed, split)

    def _options(self, sampler: Sampler[list[tuple[int, int]]]) -> dict[str, Any]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(sampler, self.num_workers, on_cuda)

    def train_dataloader(self) -> ResumableDataLoader:
        """Loader of the augmented training images, in random order; a resumed run continues where it stopped."""
        images = self.images("train", augmented=True)
        probabilities = self._probabilities(images) if self.balance else None
        sampler = ResumableBatchSampler(len(images), self.batch_size, self.seed, probabilities=probabilities)
        if len(sampler) == 0:
            raise UserError(
                f"{len(images)} training images for {sampler.device[1]} devices: expected at least 2 per device; "
                "add images or use fewer devices"
            )
        return ResumableDataLoader(images, **self._options(sampler))

    def _probabilities(self, images: CellImages) -> np.ndarray:
        groups = self.table["group"].cat.codes.to_numpy()[self.rows["train"]]
        copies = len(images.caches)
        return balanced_probabilities(images.targets, np.tile(groups, copies) if self.balance == "group" else None)

    def eval_dataloader(self, split: str) -> DataLoader[Batch]:
        """Loader of every image of a split, without augmentation."""
        images = self.images(split)
        # Twice as many: no gradients need memory, and the size of a batch never changes a metric.
        return DataLoader(images, **self._options(EvaluationSampler(len(images), self.batch_size * 2)))

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Loader of the validation images; an empty list if there are none."""
        return self.eval_dataloader("val") if "val" in self.rows else []

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each test set, in the order of `test_names`."""
        return [self.eval_dataloader(split) for split in self.test_names()]

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """The loaders of `test_dataloader`: images used neither to train nor to choose the epoch."""
        return self.test_dataloader()
