"""An evaluation on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hemai.errors import some
from hemai.evaluation.evaluation import VOTES, Evaluation
from hemai.evaluation.intervals import FEW_GROUPS

SHOWN = 30  # groups; the file has all


def print_evaluation(evaluation: Evaluation, title: str, console: Console) -> None:
    """Figures with their intervals, calls of patients, calibration, and the groups with the most mistakes."""
    kind, groups = evaluation.kind, evaluation.groups
    images = len(evaluation.predictions.targets)
    table = Table(title=f"{title}: {images:,} images, {len(groups):,} {kind}s", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in ("value", f"95 % for new {kind}s", f"{kind}s", "95 % if images were independent"):
        table.add_column(heading, justify="right")
    for row in evaluation.figures().to_dict("records"):
        table.add_row(
            escape(shown(row["figure"])), number(row["value"]),
            limits(row["low"], row["high"]), str(row["groups"]), limits(row["low_images"], row["high_images"]),
        )  # fmt: skip
    console.print(table)
    for sentence in sentences(evaluation):
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    if kind == "image":
        return
    worst = Table(title=f"{kind}s, worst first", title_justify="left")
    columns = [name for name in ("called_malignant", "mean_probability") if name in groups]
    for heading in ("group", "label", "images", "accuracy", *(name.replace("_", " ") for name in columns)):
        worst.add_column(heading, justify="left" if heading in ("group", "label") else "right")
    for row in groups.head(SHOWN).to_dict("records"):
        numbers = (f"{row[name]:.3f}" for name in ("accuracy", *columns))
        worst.add_row(escape(row["group"]), escape(row["label"]), f"{row['images']:,}", *numbers)
    console.print(worst)
    if len(groups) > SHOWN:
        console.print(f"- and {len(groups) - SHOWN:,} more in groups.csv", highlight=False)


def sentences(evaluation: Evaluation) -> list[str]:
    """What the figures do not say by themselves, for terminal and report; warnings first."""
    kind, calibration, told = evaluation.kind, evaluation.calibration, []
    if few := evaluation.few_groups():
        listed = some(f"{label} ({count})" for label, count in few.items())
        told.append(f"WARNING, fewer than {FEW_GROUPS} {kind}s of {listed}: intervals mean little")
    if (threshold := evaluation.predictions.threshold) is not None:
        values = ", ".join(f"{value:.3f}" for value in np.unique(threshold))
        told.append(f"at t: images are called malignant from {values} on, the threshold of the checkpoint")
    if evaluation.predictions.positive and not evaluation.both_kinds:
        told.append("WARNING: all images are malignant, or all benign: figures that need both are not defined")
    surest = evaluation.answered.set_index("coverage")["accuracy"][0.5]
    after = (
        f", {calibration['ece_calibrated']:.3f} after temperature scaling" if "ece_calibrated" in calibration else ""
    )
    calibrated = f"calibration: ECE {calibration['ece']:.3f}{after}, Brier score {calibration['brier']:.3f}"
    return [*told, *votes(evaluation), f"{calibrated}; accuracy on the surest half of the images {surest:.3f}"]


def votes(evaluation: Evaluation) -> list[str]:
    """How patients are called as a whole."""
    told = []
    for vote, shares in evaluation.votes.items():
        parts = (
            f"{name} {share.right} of {share.groups} ({limits(share.interval.low, share.interval.high)})"
            for name, share in shares.items()
        )
        told.append(f"{evaluation.kind}s called by {VOTES[vote]}: {', '.join(parts)}")
    return told


def shown(figure: str) -> str:
    """Its name for a reader."""
    return f"{figure.removeprefix('at_threshold/')} at t" if figure.startswith("at_threshold/") else figure


def shared_sentence(shared: Sequence[str] | None, kind: str) -> str:
    """Leakage between these images and those that a run was trained on; None: nobody knows. Empty if there is none."""
    if shared is None:
        return f"WARNING, leakage: nobody knows which {kind}s were trained on, as the checkpoint lies outside its run"
    if not shared:
        return ""
    return (
        f"WARNING, leakage: {len(shared):,} of these {kind}s were trained or validated on ({some(shared)}); the "
        f"figures say nothing of new {kind}s"
    )


def signed(value: float) -> str:
    """Four digits with the sign, or words where it is not defined."""
    return "not defined" if math.isnan(value) else f"{value:+.4f}"


def number(value: float) -> str:
    """Four digits, or words where it is not defined."""
    return "not defined" if math.isnan(value) else f"{value:.4f}"


def limits(low: float, high: float) -> str:
    """Three digits each, or words where they are not defined."""
    return "not defined" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
