"""Base class of data sets: a table of cells, and all other facts about them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch.utils.data import Dataset

from hemai.data.card import read_card
from hemai.data.image_files import MAX_MEGAPIXELS
from hemai.data.images import IMAGE_SUFFIXES, images_below, read_image
from hemai.utils.encoding import check_utf8
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.pictures import draw_sheet

RESERVED = {"low", "high", "low_images", "high_images", "by_group", "low_by_group", "high_by_group"}


class CellDataset(Dataset[tuple[torch.Tensor, int]]):
    """Cell images on disk, with one row of `table` for each; also a torch data set.

    A subclass states the facts about a data set as class attributes; nothing else in the project repeats them.
    `data[i]` is an image as stored on disk, uint8 RGB, (3, height, width), and its class index; `data.show(16)`
    draws 16 of them.

    Attributes:
        name: Short name, part of the names of runs and caches.
        classes: Class names; the position is the target.
        positive: The malignant classes; empty if malignancy does not apply.
        filename: Regular expression of file names with the named groups `group` (such as the patient) and, optionally,
            `label` and `fold`; without `label` the folder of a file is its class. See `scan`.
        group_kind: What a group is: "patient", "block" or "image". A split never divides a group.
        external: Values of the column `fold` that are external test sets, never trained on.
        published: Published numbers, (fold, label) -> (images, groups or None); empty if there are none.
        license, citation: License and citation of the images.
        max_megapixels: Larger images are not read; the data module sets it from `data.max_megapixels`.
        card: Field of `hemai.data.card.FIELDS` -> what is published; `card.yaml` in `root` adds to it.
        table: Columns `path` (relative to `root`, with `/`), `label`, `group`, `fold` (all text).
        notes: Sentences for the user about what was found or left out.
        left_out: What was left out -> number of images; see `leave_out`.
        problems: Sentences about invalid files; `check` raises them as an error.

    Args:
        root: Folder that holds the images, at any depth.

    Raises:
        UserError: `root` does not exist or contains no image, or its `card.yaml` is invalid.
    """

    name: str
    classes: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    filename: re.Pattern[str]
    group_kind: str = "patient"
    external: tuple[str, ...] = ()
    published: dict[tuple[str, str], tuple[int, int | None]] = {}
    license: str = "unknown"
    citation: str = "unknown"
    max_megapixels: float = MAX_MEGAPIXELS
    card: Mapping[str, str] = {}

    def __init__(self, root: str | Path) -> None:
        if not isinstance(root, (str, os.PathLike)) or not str(root):
            raise UserError(f"root={root!r}: expected the folder of the images, in train.py data.root=DIR")
        self.root = Path(os.path.expanduser(root)).absolute()
        self.notes: list[str] = []
        self.left_out: dict[str, int] = {}
        self.problems: list[str] = []
        self._rejected: dict[str, list[str]] = {}
        self.table = pd.DataFrame(list(self.scan()), columns=["path", "label", "group", "fold"])
        self.card = {**self.card, **read_card(self.root)}
        self.problems += [f"{len(files):,} {why}: {shorten(files)}" for why, files in self._rejected.items()]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.table["path"].iloc[index], self.table["label"].iloc[index]
        image = read_image(self.root / path, self.max_megapixels)
        return torch.from_numpy(image).permute(2, 0, 1), self.classes.index(label)

    def show(self, count: int = 16) -> Figure:
        """Draw `count` images, evenly spaced over the table, with class and group."""
        rows = self.table.iloc[np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)]
        images = [read_image(self.root / path, self.max_megapixels) for path in rows["path"]]
        captions = [f"{label}\n{group}" for label, group in zip(rows["label"], rows["group"], strict=True)]
        return draw_sheet(images, captions, f"{self.name}: {len(self):,} images")

    def scan(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (path, label, group, fold) of every cell; pass invalid files to `reject`.

        By default every image under `root` whose name matches `filename` is a cell.
        """
        if "group" not in getattr(self, "filename", re.compile("")).groupindex:
            raise UserError(
                f"{type(self).__name__}.filename: expected a regular expression with (?P<group>...), such as the "
                "patient; add it, or override scan"
            )
        for file in self.image_files():
            match = self.filename.fullmatch(file.name)
            named = {name: part for name, part in (match.groupdict() if match else {}).items() if part is not None}
            parts = {"label": file.parent.name, "fold": "", **named}
            if match is None:
                self.reject(file, f"names that do not match {self.filename.pattern} (rename or remove them)")
            elif parts["label"] not in self.classes:
                self.reject(file, f"images of an unknown class (expected {', '.join(self.classes)})")
            else:
                yield self.relative(file), parts["label"], parts["group"], parts["fold"]

    def reject(self, file: Path, why: str) -> None:
        """Record an invalid file; `problems` gets one sentence for each reason, with its files."""
        self._rejected.setdefault(why, []).append(self.relative(file))

    def leave_out(self, count: int, what: str) -> None:
        """Record images that are left out on purpose, such as `2, "unreadable images"`, and note it for the user."""
        if count:
            self.left_out[what] = count
            self.notes.append(f"{count:,} {what} are left out")

    def image_files(self) -> list[Path]:
        """All image files under `root`, sorted, without hidden files and folders.

        Raises:
            UserError: `root` does not exist, is a file, or contains no image; or names that are not UTF-8.
        """
        named = "images" if self.name == "folder" else f"{self.name} images"
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "nothing"
            raise UserError(f"data.root: found {found} at {self.root}, expected the folder of the {named}")
        images, others = images_below(self.root)
        if not images:
            raise UserError(
                f"data.root: {self.root} contains {others} files but no image "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}); point data.root at the {named}"
            )
        check_utf8(images)
        return images

    def relative(self, file: Path) -> str:
        """Path of a file relative to `root`, with `/` on every system."""
        return file.relative_to(self.root).as_posix()

    def check(self) -> None:
        """Raise an error if a file is invalid or a class has no images.

        Raises:
            UserError: Invalid names, contradicting labels, a class without images, or a reserved class name.
        """
        if self.problems:
            raise UserError(f"{self.root}: " + "; ".join(self.problems))
        if taken := sorted(set(self.classes) & RESERVED):
            raise UserError(
                f"class name {shorten(taken)} is reserved for interval limits in result.json; rename the class"
            )
        counts = self.table["label"].value_counts()
        missing = [label for label in self.classes if counts.get(label, 0) == 0]
        if missing:
            above = "; if the others lie beside it, point data.root at the folder above" if len(counts) == 1 else ""
            raise UserError(
                f"{self.root}: no image of class {shorten(missing)} "
                f"(expected {', '.join(self.classes)}; found {counts.to_dict() or 'none'}){above}"
            )

    def counts(self) -> pd.DataFrame:
        """Number of images and groups of each fold and class, as found and as published.

        Returns:
            One row for each (fold, label), columns `fold, label, images, groups, published_images,
            published_groups`; unknown published numbers are missing values.
        """
        found = self.table.groupby(["fold", "label"])["group"].agg(images="size", groups="nunique")
        published = pd.DataFrame(
            [(*part, *numbers) for part, numbers in self.published.items()],
            columns=["fold", "label", "published_images", "published_groups"],
        ).set_index(["fold", "label"])
        both = found.join(published, how="outer").reset_index()
        return both.astype({column: "Int64" for column in both.columns[2:]}).fillna({"images": 0, "groups": 0})


def make_dataset(
    dataset: CellDataset | type[CellDataset] | str, root: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> CellDataset:
    """Make a data set from its class or the dotted name of its class; return an existing one as it is.

    Args:
        dataset: A data set, its class, or the dotted name of its class.
        root: Folder of the images; None with an existing data set.
        options: Further arguments of the class; empty with an existing data set.

    Raises:
        UserError: Not a data set, or arguments for an existing one.
    """
    if isinstance(dataset, CellDataset):
        if given := [*(["root"] if root is not None else []), *options]:
            raise UserError(f"data: found {shorten(given)} beside an existing data set ({dataset.name}); leave it out")
        return dataset
    kind: Any = _find(dataset) if isinstance(dataset, str) else dataset
    if not (isinstance(kind, type) and issubclass(kind, CellDataset)):
        raise UserError(f"data.dataset={dataset} is not a subclass of hemai.data.CellDataset")
    return kind(root, **options)  # type: ignore[arg-type]  # some data sets need no root


def _find(name: str) -> Any:
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = did_you_mean(name, (f"hemai.data.{known.__name__}" for known in _subclasses(CellDataset)))
        raise UserError(
            f"data.dataset={name}: {error}{hint} (expected package.module.Class of an installed package)"
        ) from error


def _subclasses(kind: type) -> list[type]:
    children: list[type] = kind.__subclasses__()
    return children + [found for child in children for found in _subclasses(child)]
