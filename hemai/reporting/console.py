"""Tables of data and results for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hemai.data.card import CARD, missing_fields
from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.data.splits import RULES
from hemai.evaluation.metrics import METRICS
from hemai.evaluation.prevalence import PriorShift
from hemai.models.classifier import CellClassifier
from hemai.models.cost import count_parameters
from hemai.reporting.text import (
    NO_PATIENTS,
    RESEARCH_ONLY,
    count_images,
    prevalence_sentence,
    source_sentences,
    split_sentence,
    threshold_sentence,
)
from hemai.runs.ensemble import describe_networks
from hemai.runs.ensemble_threshold import threshold_facts
from hemai.runs.prediction_output import PredictionSummary, groups_file
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import shorten
from hemai.utils.terminal import say, show_table

FEW_PATIENTS = 60  # with fewer, the test set of one split says little
COUNTS = ("images", "groups", "no_nucleus")


def print_data(data: CellDataModule) -> None:
    """Print the data of a run: splits, leakage, and notes on the data set."""
    split_name = data.split if data.split in RULES else "file"
    counts = count_images(data.table, data.dataset.classes)
    if data.transform.has_segmentation:
        counts["no nucleus"] = [
            f"{data.table['no_nucleus'][data.table['split'] == split].sum():,}" for split in counts["split"]
        ]
    show_table(counts, f"{data.dataset.name}, split={split_name} (images / {data.dataset.group_kind}s)")
    if data.add_segmented_twins:
        count = len(data.rows["train"])
        say(f"trained on {count:,} images and their {count:,} segmented twins")
    say(*data.dataset.notes, *_split_sentences(data))


def print_start(model: CellClassifier) -> None:
    """Print what the network starts from, if not from random weights, and how much of it is trained."""
    metadata = model.hparams["metadata"]
    if start := metadata.get("start"):
        say(f"weights: {start}", *source_sentences(metadata.get("source")))
    trained, total = count_parameters(model.backbone)
    if model.hparams["adapter"]:
        say(f"adapters: {trained:,} of {total:,} parameters are trained")


def _split_sentences(data: CellDataModule) -> list[str]:
    """Sentences on how few groups there are, on leakage between splits, and on what the groups are."""
    kind, leakage = data.dataset.group_kind, data.leakage
    sentences = [NO_PATIENTS] if kind == "block" else []
    for split in (name for name in ("val", "test") if name in data.rows):
        groups = data.table.iloc[data.rows[split]].groupby("label")["group"].nunique()
        if single := sorted(groups.index[groups == 1]):
            sentences.append(f"WARNING: one {kind} of {shorten(single)} in {split}, which tells nothing of new ones")
    total = data.table["group"].nunique()
    if kind == "patient" and total < FEW_PATIENTS and data.split not in ("kfold", "fold"):
        sentences.append(
            f"{total} patients are few for one split: `hemai crossvalidate` with these settings and --out FOLDER tests "
            "each of them"
        )
    if data.n_merged_groups:
        sentences.append(f"{data.n_merged_groups} {kind}s share identical files with others, and were merged with them")
    sentences.append(split_sentence(data.table, kind))
    if leakage.duplicates:
        sentences.append(f"WARNING, leakage: {leakage.duplicates} images have an identical copy in another split")
    return sentences


def print_result(result: dict[str, Any], data: CellDataModule, folder: Path) -> None:
    """Print the results of a run: metrics by split, numbers of images and groups, and the run folder."""
    splits = data.split_names()[1:]
    limits = {f"{name}/{limit}" for name in result for limit in ("low", "high")}
    names = list(
        dict.fromkeys(key.split("/", 1)[1] for key in result if key.split("/")[0] in splits and key not in limits)
    )
    rows = [[name, *(_format(result, f"{split}/{name}") for split in splits)] for name in names if name not in COUNTS]
    ends = [len(rows) - 1]
    if result["threshold"] is not None:
        for name in (metric.name for metric in METRICS if metric.kind == "threshold"):
            cells = ("" if split == "val" else _format(result, f"{split}_at_threshold/{name}") for split in splits)
            rows.append([f"{name} at {result['threshold']:.3f}", *cells])
        ends.append(len(rows) - 1)
    counted = {"images": "images", "groups": f"groups ({data.dataset.group_kind}s)", "no_nucleus": "no nucleus found"}
    rows += [
        [heading, *(f"{result[f'{split}/{name}']:,}" for split in splits)]
        for name, heading in counted.items()
        if name in names
    ]
    rows.append(["groups shared", *(f"{result['groups_shared']:,}" for _ in splits)])
    if splits:
        show_table(pd.DataFrame(rows, columns=["metric", *splits]), "result of the best checkpoint", ends=ends)
    speed = f", {result['images_per_second']:,.0f} images/s" if result["images_per_second"] else ""
    done = f"{result['epochs']} epochs" if "probe_C" not in result else f"probe with C = {result['probe_C']:g}"
    print(f"{done} in {result['seconds']:.0f} s{speed}")
    print(f"run folder: {folder}")
    if (folder / "tensorboard").is_dir():
        print(f"dashboard:  tensorboard --logdir {shlex.quote(str(folder))}")


def _format(result: dict[str, Any], name: str) -> str:
    value, low, high = (result.get(key) for key in (name, f"{name}/low", f"{name}/high"))
    limits = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return "not defined" if value is None else f"{value:.4f}{limits}"


def print_counts(dataset: CellDataset) -> None:
    """Print images and groups per part and class beside published counts; then notes, licence and citation."""
    rows = []
    for row in dataset.counts().to_dict("records"):
        counts = [row[name] for name in ("images", "published_images", "groups", "published_groups")]
        rows.append((row["fold"] or "-", row["label"], *map(_count, counts), _verdict(*counts)))
    columns = ["part", "class", "images", "published", f"{dataset.group_kind}s", "published", ""]
    show_table(pd.DataFrame(rows, columns=columns), f"{dataset.name} under {dataset.root}", texts=2)
    say(*dataset.notes, *(f"PROBLEM: {problem}" for problem in dataset.problems))
    dataset.notes.clear()
    if missing := missing_fields(dataset.card):
        fields = ", ".join(missing)
        say(f"not recorded: {fields}; write what is known into {dataset.root / CARD}, such as '{missing[0]}: ...'")
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


def print_duplicates(data: CellDataModule) -> None:
    """Print the number of identical files, and of those across groups or classes."""
    table = data.table.astype({"label": str, "group": str})
    copies = table[table.groupby("content")["path"].transform("size") > 1]
    sets = copies.groupby("content")
    if copies.empty:
        say("no identical files")
        return
    original = data.dataset.table.set_index("path")["group"]
    across = sum(original[part["path"]].nunique() > 1 for _, part in sets)
    classes = sum(part["label"].nunique() > 1 for _, part in sets)
    listed = [" = ".join(part["path"]) for _, part in sets]
    say(
        f"{sets.ngroups} sets of identical files ({len(copies)} files), {across} across {data.dataset.group_kind}s, "
        f"{classes} across classes: {shorten(listed, most=3)}"
    )


def print_predictions(
    summary: PredictionSummary, runs: Sequence[SavedRun], out: Path, shift: PriorShift | None = None
) -> None:
    """Print the number of images predicted as each class, and the unreadable ones.

    Args:
        summary: Counts of the images.
        runs: Runs that made the predictions.
        out: Path of the written table.
        shift: Adjustment of the predictions to a stated prevalence.
    """
    counts = {label: summary.counts["predicted", label] for label in runs[0].model.classes}
    words = {
        "malignant": "malignant (probability >= 0.5)",
        "malignant_at_threshold": f"malignant (probability >= {summary.threshold or 0:.3f})",
        "abstained": "abstained",
    }
    columns = {column for column, _ in summary.counts}
    counts |= {words[column]: summary.counts[column, "yes"] for column in words if column in columns}
    readable = summary.images - summary.unreadable
    rows = [(label, f"{count:,}", f"{count / max(readable, 1):.1%}") for label, count in counts.items()]
    title = f"{readable:,} images: {describe_networks(runs)}, trained on {runs[0].metadata['data']}"
    show_table(pd.DataFrame(rows, columns=["predicted", "images", "fraction"]), title)
    if "malignant_at_threshold" in columns:
        say(threshold_sentence(summary.threshold, threshold_facts(runs, is_ensemble=True)))
    if shift is not None:
        say(prevalence_sentence(shift))
    if summary.unreadable:
        say(
            f"WARNING: {summary.unreadable:,} of {summary.images:,} images are unreadable, see the column error: "
            f"{'; '.join(summary.listed)}{'; ...' * (summary.unreadable > len(summary.listed))}"
        )
    say(RESEARCH_ONLY)
    print(f"written to {out}")
    if summary.groups is not None:
        print(f"{summary.groups:,} groups: {groups_file(out)}")
