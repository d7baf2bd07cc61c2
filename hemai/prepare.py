"""`hemai prepare`: what is on disk, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hemai import tables
from hemai.build import build_data
from hemai.config import compose
from hemai.data import CellDataModule, CellDataset
from hemai.errors import some
from hemai.terminal import say, show_table


def prepare_data(overrides: Sequence[str]) -> CellDataModule:
    """Check a data set, build its cache, report duplicates, and split it.

    Args:
        overrides: As for train.py.

    Raises:
        UserError: After the report: files that do not fit or cannot be read, or an impossible split.
    """
    data = build_data(compose(overrides))
    _print_counts(data.dataset)
    data.setup()
    _print_duplicates(data)
    tables.print_data(data)
    print(f"cache: {data.cache.folder} ({data.cache.images.nbytes / 1e6:,.0f} MB)")
    return data


def _print_counts(dataset: CellDataset) -> None:
    rows = []
    for row in dataset.counts().to_dict("records"):
        counts = [row[name] for name in ("images", "published_images", "groups", "published_groups")]
        rows.append((row["fold"] or "-", row["label"], *map(_count, counts), _verdict(*counts)))
    columns = ["part", "class", "images", "published", f"{dataset.group_kind}s", "published", ""]
    show_table(pd.DataFrame(rows, columns=columns), f"{dataset.name} under {dataset.root}", texts=2)
    say(*dataset.notes, *(f"PROBLEM: {problem}" for problem in dataset.problems))
    dataset.notes.clear()
    print(f"licence: {dataset.license}\ncite: {dataset.citation}")


def _count(value: int | None) -> str:
    return "-" if pd.isna(value) else f"{value:,}"


def _verdict(images: int, published_images: int | None, groups: int, published_groups: int | None) -> str:
    if pd.isna(published_images):
        return ""
    if images == 0:
        return "missing"
    same = images == published_images and (pd.isna(published_groups) or groups == published_groups)
    return "complete" if same else "differs"


def _print_duplicates(data: CellDataModule) -> None:
    """Identical files, and whether they lie in one group and one class."""
    table = data.table.astype({"label": str, "group": str})
    copies = table[table.groupby("content")["path"].transform("size") > 1]
    sets = copies.groupby("content")
    if copies.empty:
        say("no identical files")
        return
    original = data.dataset.table.set_index("path")["group"]
    across = sum(original[part["path"]].nunique() > 1 for _, part in sets)
    classes = sum(part["label"].nunique() > 1 for _, part in sets)
    first = [" = ".join(part["path"]) for _, part in sets]
    say(
        f"{sets.ngroups} sets of identical files ({len(copies)} files), {across} across {data.dataset.group_kind}s, "
        f"{classes} across classes: {some(first, most=3)}"
    )
