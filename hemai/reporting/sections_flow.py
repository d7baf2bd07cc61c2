"""Report section on the flow of images and patients: found, left out, and used for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from hemai.evaluation.external_test import ExternalTest
from hemai.evaluation.predictions import Predictions
from hemai.reporting.document import Section
from hemai.reporting.flow_diagram import Box, draw_flow
from hemai.reporting.text import plural
from hemai.runs.provenance import read_provenance
from hemai.runs.saved_run import SavedRun
from hemai.utils.pictures import NAMES, render

UNREADABLE = "unreadable images"


def flow_sections(tested: Predictions, runs: Sequence[SavedRun], external: ExternalTest | None) -> list[Section]:
    """Section with the flow diagram; empty list for checkpoints and predictions without a run folder."""
    if not (flows := flow_of_images(tested, runs, external)):
        return []
    kind = tested.group_kind
    counted = "images" if kind == "image" else f"images / {kind}s"
    caption = f"Flow of the images; numbers of a class: {counted}. Blue: the images evaluated here."
    return [Section("Flow of images", pictures=[render("flow", draw_flow(flows), caption)])]


def flow_of_images(tested: Predictions, runs: Sequence[SavedRun], external: ExternalTest | None) -> list[list[Box]]:
    """Boxes of the images of the runs, and of those of an external test set.

    Args:
        tested: Predictions that are evaluated.
        runs: Runs that made them; several are folds of a cross-validation, or an ensemble.
        external: External test set; None for the runs' own test images.
    """
    complete = [run for run in runs if run.folder is not None]
    flows = [_boxes_of_runs(complete, None if external else tested)] if complete else []
    return flows + ([_boxes_of_external(external, tested)] if external else [])


def _boxes_of_runs(runs: Sequence[SavedRun], tested: Predictions | None) -> list[Box]:
    """Boxes of the images of runs; `tested`: predictions of their own test images."""
    run = runs[0]
    kind, recorded, splits = run.metadata["group_kind"], read_provenance(run.folder), run.splits()
    boxes = [*_boxes_of_data(run.metadata["data"], len(splits), recorded.get("left_out"))]
    merged = recorded.get("merged_groups") or 0
    shared = [f"merged, as they share identical files with others: {plural(merged, kind)}"] if merged else []
    boxes.append(Box(f"used: {_count(splits, kind)}", [_by_class(splits, kind, run.model.classes), *shared]))
    if len(runs) > 1:
        return boxes + _boxes_of_folds(runs, kind, tested)
    for split in dict.fromkeys(["train", "val", "test", *splits["split"]]):
        part = splits[splits["split"] == split]
        if part.empty:
            continue
        lines = [_by_class(part, kind, run.model.classes)]
        if split == "train" and run.metadata.get("segmented_twins"):
            lines.append("each also as its segmented twin")
        is_tested = split == "test" and tested is not None
        boxes.append(
            Box(f"{NAMES.get(split, split)}: {_count(part, kind)}", lines, True, "tested" if is_tested else "")
        )
    return boxes


def _boxes_of_folds(runs: Sequence[SavedRun], kind: str, tested: Predictions | None) -> list[Box]:
    splits = [run.splits() for run in runs]
    lines = []
    for split in ("train", "val", "test"):
        parts = [table[table["split"] == split] for table in splits]
        if all(part.empty for part in parts):
            continue
        groups = f" of {_range([part['group'].nunique() for part in parts])} {kind}s" if kind != "image" else ""
        lines.append(f"{NAMES.get(split, split)}: {_range([len(part) for part in parts])} images{groups}")
    boxes = [Box(f"each of {len(runs)} networks", lines, branch=True)]
    if tested is not None:
        title = f"tested, by a network that did not train on them: {_tested(tested)}"
        boxes.append(Box(title, [_by_class(tested.table.drop_duplicates("path"), kind, tested.classes)], kind="tested"))
    return boxes


def _boxes_of_external(external: ExternalTest, tested: Predictions) -> list[Box]:
    dataset = external.dataset
    unreadable = len(dataset.table) - tested.images
    left_out = {**dataset.left_out, **({UNREADABLE: unreadable} if unreadable else {})}
    boxes = _boxes_of_data(f"{dataset.name}, the external test set", tested.images, left_out)
    lines = [_by_class(tested.table, tested.group_kind, tested.classes)]
    return [*boxes, Box(f"tested: {_tested(tested)}", lines, kind="tested")]


def _boxes_of_data(name: str, used: int, left_out: Mapping[str, int] | None) -> list[Box]:
    if left_out is None:
        return [Box(f"images of {name}"), Box("left out: not recorded by an older run", [], True, "left out")]
    found = Box(f"found: {plural(used + sum(left_out.values()), 'image')} of {name}")
    lines = [f"{count:,} {what}" for what, count in left_out.items()]
    return [found, Box(f"left out: {plural(sum(left_out.values()), 'image')}", lines, True, "left out")]


def _count(table: pd.DataFrame, kind: str) -> str:
    return _images_and_groups(len(table), table, kind)


def _tested(tested: Predictions) -> str:
    return _images_and_groups(tested.images, tested.table, tested.group_kind)


def _images_and_groups(images: int, table: pd.DataFrame, kind: str) -> str:
    groups = f" of {plural(table['group'].nunique(), kind)}" if kind != "image" else ""
    return f"{plural(images, 'image')}{groups}"


def _by_class(table: pd.DataFrame, kind: str, classes: Sequence[str]) -> str:
    parts = [(label, table[table["label"] == label]) for label in classes]
    counts = (
        f"{label} {len(part):,}" + (f" / {part['group'].nunique():,}" if kind != "image" else "")
        for label, part in parts
        if len(part)
    )
    return ", ".join(counts)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
