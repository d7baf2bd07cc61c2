"""Leakage between splits: groups and identical files that occur in more than one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

UNUSED = "unused"  # split of images that a run leaves out


@dataclass(frozen=True)
class Leakage:
    """Groups and identical files that occur in more than one split.

    Attributes:
        groups: Names of the groups with images in more than one split.
        images: Number of images of these groups.
        duplicates: Number of images with an identical file in another split.
    """

    groups: tuple[str, ...]
    images: int
    duplicates: int


def count_leakage(table: pd.DataFrame, split: pd.Series, content: np.ndarray | None = None) -> Leakage:
    """Count the groups and identical files that occur in more than one split.

    Args:
        table: Columns `path, label, group`.
        split: Split of each row; those of `UNUSED` images do not count.
        content: Content key of each file, the same for identical files; None: duplicates are not counted.
    """
    split = split.where(split != UNUSED)
    splits_of_group = split.groupby(table["group"]).nunique()
    shared = splits_of_group.index[splits_of_group > 1]
    duplicates = 0
    if content is not None:
        splits_of_content = split.groupby(content).transform("nunique")
        duplicates = int((split.notna() & (splits_of_content > 1)).sum())
    return Leakage(tuple(sorted(shared)), int((table["group"].isin(shared) & split.notna()).sum()), duplicates)


def merge_duplicate_groups(table: pd.DataFrame, content: np.ndarray) -> pd.Series:
    """Merge groups that contain identical files, so that a split keeps them together.

    Args:
        table: Column `group`.
        content: Content key of each file, the same for identical files.

    Returns:
        The group of each row; merged groups take the first of their names.
    """
    groups, names = pd.factorize(table["group"], sort=True)
    contents = len(names) + pd.factorize(content)[0]
    size = contents.max(initial=0) + 1
    links = coo_array((np.ones(len(table)), (groups, contents)), shape=(size, size))
    _, parts = connected_components(links, directed=False)
    first = pd.Series(names).groupby(parts[: len(names)]).transform("first")  # names are sorted
    return table["group"].map(dict(zip(names, first, strict=True)))
