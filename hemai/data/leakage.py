"""Leakage between splits: groups and identical files that occur in more than one."""

from __future__ import annotations

import re
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


def leak_test_groups(table: pd.DataFrame, split: pd.Series, half: int, dose: float, seed: int) -> pd.Series:
    """Swap images of each test group into training, for as many training images of the same class.

    The images of a test group are cut into two halves in the order of their paths, so that neighbours (cells of one
    field of view, where the name tells it) mostly stay together. Images of one half leak; the other half is tested.

    Args:
        table: Columns `path, label, group`.
        split: "train" or "test" for each row, or `UNUSED`; no group in both.
        half: 0 or 1: the half from which images leak.
        dose: Fraction of the images of each test group that leak, above 0 to 0.5, evenly spaced over the half.
        seed: Seed of the choice of training images that make room; one image of a class always stays.

    Returns:
        Split of each row: images that neither train nor are tested are `UNUSED`.
    """
    leaky, moved = split.copy(), dict.fromkeys(table["label"].unique(), 0)
    for (_, label), paths in table[split == "test"].groupby(["group", "label"], observed=True)["path"]:
        rows = np.array(sorted(paths.index, key=lambda row: _in_file_order(paths[row])))
        leaking = np.array_split(rows, 2)[half]
        count = min(round(dose * len(rows)), len(leaking))
        chosen = leaking[np.linspace(0, len(leaking) - 1, count).round().astype(int)]
        leaky[leaking] = UNUSED
        leaky[chosen] = "train"
        moved[label] += count
    rng = np.random.default_rng(seed)
    for label, count in sorted(moved.items()):
        others = table.index[(split == "train") & (table["label"] == label)]
        leaky[rng.choice(others, max(0, min(count, len(others) - 1)), replace=False)] = UNUSED
    return leaky


def _in_file_order(path: str) -> list[tuple[int, str]]:
    """Sort key that counts: UID_1_2_10 comes after UID_1_2_9."""
    parts = re.split(r"(\d+)", path)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
