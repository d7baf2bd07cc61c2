"""`hemai prepare`: what is on disk, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hemai import tables
from hemai.build import build_data
from hemai.config import compose
from hemai.data import CellDataModule, CellDataset
from hemai.errors import some


def prepare_data(overrides: Sequence[str]) -> CellDataModule:
    """Check a data set, build its cache, report duplicates, and split it.

    Args:
        overrides: As for train.py.

    Raises:
        UserError: After the report: files that do not fit or cannot be read, or an impossible split.
    """
    data = build_data(compose(overrides))
    console = Console()
    _print_counts(data.dataset, console)
    data.setup()
    _print_duplicates(data, console)
    tables.print_data(data, console)
    size = data.cache.images.nbytes / 1e6
    console.print(f"cache: {data.cache.folder} ({size:,.0f} MB)", highlight=False, soft_wrap=True, markup=False)
    return data


def _print_counts(dataset: CellDataset, console: Console) -> None:
    kind = dataset.group_kind
    table = Table(title=f"{dataset.name} under {escape(str(dataset.root))}", title_justify="left")
    for heading in ("part", "class"):
        table.add_column(heading)
    for heading in ("images", "published", f"{kind}s", "published"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in dataset.counts().to_dict("records"):
        counts = [row[name] for name in ("images", "published_images", "groups", "published_groups")]
        table.add_row(row["fold"] or "-", row["label"], *map(_count, counts), _verdict(*counts))
    console.print(table)
    for sentence in [*dataset.notes, *(f"PROBLEM: {problem}" for problem in dataset.problems)]:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    dataset.notes.clear()
    console.print(
        f"licence: {dataset.license}\ncite: {dataset.citation}", highlight=False, markup=False, soft_wrap=True
    )


def _count(value: int | None) -> str:
    return "-" if pd.isna(value) else f"{value:,}"


def _verdict(images: int, published_images: int | None, groups: int, published_groups: int | None) -> str:
    if pd.isna(published_images):
        return ""
    if images == 0:
        return "missing"
    same = images == published_images and (pd.isna(published_groups) or groups == published_groups)
    return "complete" if same else "differs"


def _print_duplicates(data: CellDataModule, console: Console) -> None:
    """Identical files, and whether they lie in one group and one class."""
    table = data.table.astype({"label": str, "group": str})
    copies = table[table.groupby("content")["path"].transform("size") > 1]
    sets = copies.groupby("content")
    if copies.empty:
        console.print("- no identical files")
        return
    original = data.dataset.table.set_index("path")["group"]
    across = sum(original[part["path"]].nunique() > 1 for _, part in sets)
    classes = sum(part["label"].nunique() > 1 for _, part in sets)
    first = [" = ".join(part["path"]) for _, part in sets]
    console.print(
        f"- {sets.ngroups} sets of identical files ({len(copies)} files), {across} across {data.dataset.group_kind}s, "
        f"{classes} across classes: {some(first, most=3)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
