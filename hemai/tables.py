"""Tables for the terminal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hemai.classifier import CellClassifier
from hemai.data import CellDataModule
from hemai.data.splits import RULES
from hemai.metrics import METRICS

COUNTS = ("images", "groups", "no_nucleus")


def print_data(data: CellDataModule, console: Console | None = None) -> None:
    """What a run trains on: splits, leakage, and what the user should know of the data set."""
    console = console or Console()
    kind = data.dataset.group_kind
    split_name = data.split if data.split in RULES else "file"
    title = f"{data.dataset.name}, split={split_name} (images / {kind}s)"
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("split")
    segmented = ("no nucleus",) * data.transform.segments
    for heading in (*map(escape, data.dataset.classes), "together", *segmented):
        table.add_column(heading, justify="right")
    for split in data.split_names():
        rows = data.table.iloc[data.rows[split]]
        parts = [rows[rows["label"] == label] for label in data.dataset.classes]
        cells = [f"{len(part):,} / {part['group'].nunique():,}" for part in (*parts, rows)]
        table.add_row(split, *cells, *(f"{rows['no_nucleus'].sum():,}" for _ in segmented))
    console.print(table)
    if data.add_segmented_twins:
        count = len(data.rows["train"])
        console.print(f"- trained on {count:,} images and their {count:,} segmented twins", highlight=False)
    for sentence in [*data.dataset.notes, *leakage_sentences(data)]:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)


def print_start(model: CellClassifier, console: Console | None = None) -> None:
    """What the network took from a file of weights, if it starts from one."""
    if start := model.hparams["facts"].get("start"):
        (console or Console()).print(f"- weights: {start}", highlight=False, markup=False, soft_wrap=True)


def leakage_sentences(data: CellDataModule) -> list[str]:
    """What the splits share, and how far the groups can be trusted."""
    kind, leakage = data.dataset.group_kind, data.leakage
    sentences = []
    if kind == "block":
        sentences.append("groups are blocks of consecutive images, not patients: nobody published patient numbers")
    if data.groups_joined:
        sentences.append(f"identical files in different {kind}s: {data.groups_joined} {kind}s were joined with others")
    if leakage.groups:
        sentences.append(
            f"WARNING, leakage: {len(leakage.groups)} {kind}s ({leakage.images:,} images) stand in more than one "
            "split; the figures say nothing of new patients"
        )
    else:
        sentences.append(f"leakage: no {kind} stands in more than one split")
    if leakage.duplicates:
        sentences.append(f"WARNING, leakage: {leakage.duplicates} images have an identical file in another split")
    return sentences


def print_result(result: dict[str, Any], data: CellDataModule, folder: Path, console: Console | None = None) -> None:
    """The final table: metric by split, then images, groups, and where to look next."""
    console = console or Console()
    splits = data.split_names()[1:]
    limits = {f"{name}/{limit}" for name in result for limit in ("low", "high")}
    names = list(dict.fromkeys(n.split("/", 1)[1] for n in result if n.split("/")[0] in splits and n not in limits))
    table = Table(title="result of the best checkpoint", title_justify="left")
    table.add_column("figure")
    for split in splits:
        table.add_column(split, justify="right")
    for name in (name for name in names if name not in COUNTS):
        table.add_row(escape(name), *(_shown(result, f"{split}/{name}") for split in splits))
    at_threshold = [f"{split}_at_threshold" for split in data.test_names()]
    if result["threshold"] is not None:
        table.add_section()
        for name in (metric.name for metric in METRICS if metric.kind == "threshold"):
            cells = ["" for split in splits if split == "val"] + [_shown(result, f"{of}/{name}") for of in at_threshold]
            table.add_row(f"{name} at {result['threshold']:.3f}", *cells)
    table.add_section()
    table.add_row("images", *(f"{result[f'{split}/images']:,}" for split in splits))
    table.add_row(f"groups ({data.dataset.group_kind}s)", *(f"{result[f'{split}/groups']:,}" for split in splits))
    if "no_nucleus" in names:
        table.add_row("no nucleus found", *(f"{result[f'{split}/no_nucleus']:,}" for split in splits))
    table.add_row("groups shared", *(f"{result['groups_shared']:,}" for _ in splits))
    if splits:
        console.print(table)
    speed = f", {result['images_per_second']:,.0f} images/s" if result["images_per_second"] else ""
    console.print(f"{result['epochs']} epochs in {result['seconds']:.0f} s{speed}", highlight=False)
    console.print(f"run folder: {folder}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"dashboard:  tensorboard --logdir {shlex.quote(str(folder))}", highlight=False, soft_wrap=True, markup=False
    )


def _shown(result: dict[str, Any], name: str) -> str:
    value, low, high = (result.get(key) for key in (name, f"{name}/low", f"{name}/high"))
    limits = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return "not defined" if value is None else f"{value:.4f}{limits}"
