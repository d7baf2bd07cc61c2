"""Numbers and sentences that the terminal, the report and the model card share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hemai.data.splits import FRACTIONS
from hemai.evaluation.metrics import AT_THRESHOLD
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.prevalence import PriorShift
from hemai.utils.errors import shorten

NO_PATIENTS = "Groups are blocks of consecutive images, not patients: patient numbers were not published."
RESEARCH_ONLY = "Research software, not a medical device: not for diagnosis, not for treatment."
LIMITATIONS = (
    "The metrics hold for images made like these: the same stain, microscope, camera and preparation, and the same "
    "class fractions. External testing on another hospital's images (hemai evaluate RUN data=...) is worth more.",
    "An interval covers the random choice of tested groups, not the randomness of training, nor a choice made after "
    "looking at the test images.",
    RESEARCH_ONLY,
)


def source_sentences(source: Mapping[str, str] | None) -> list[str]:
    """Sentences on published weights: licence, citation, and the images of which a test tells too much."""
    known = source or {}
    images = known.get("images")
    return [
        *([f"licence of these weights: {known['licence']}"] if "licence" in known else []),
        *([f"cite for them: {known['citation']}"] if "citation" in known else []),
        *([f"pretrained on {images}: metrics of these images are not those of unseen ones"] if images else []),
    ]


def plural(count: int, noun: str) -> str:
    """Count with its noun: `1 patient`, `1,200 patients`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_number(value: float, sign: str = "") -> str:
    """Number with four decimals; "not defined" for NaN."""
    return "not defined" if math.isnan(value) else f"{value:{sign}.4f}"


def format_interval(low: float, high: float, sign: str = "") -> str:
    """Interval with three decimals; "not defined" for NaN."""
    return "not defined" if math.isnan(low) else f"{low:{sign}.3f} to {high:{sign}.3f}"


def format_with_interval(row: Mapping[Any, Any], name: str) -> str:
    """Metric of a table row with its interval: `0.8123 (0.754 to 0.870)`."""
    return f"{format_number(row[name])} ({format_interval(row[f'{name}/low'], row[f'{name}/high'])})"


def metric_label(metric: str) -> str:
    """Display name of a metric: `recall at t` for `at_threshold/recall`."""
    return f"{metric.removeprefix(AT_THRESHOLD)} at t" if metric.startswith(AT_THRESHOLD) else metric


def leakage_sentence(shared: Sequence[str] | None, kind: str, tested: int, networks: int = 1) -> str:
    """Sentence on leakage: evaluated groups that also occur in training or validation.

    Args:
        shared: Names of these groups; None: unknown, for a checkpoint without a run folder.
        kind: What a group is: "patient", "block" or "image".
        tested: Number of groups evaluated.
        networks: Number of networks that were tested on images of their own.
    """
    if shared is None:
        return (
            f"WARNING, leakage unknown: the training {kind}s are not recorded (a checkpoint outside its run folder, or "
            "a file of predictions)."
        )
    if not shared:
        none = (
            f"none of the {tested:,} {kind}s evaluated here is" if tested > 1 else f"the {kind} evaluated here is not"
        )
        return f"Leakage: {none} in training or validation{' of the network that tested it' * (networks > 1)}."
    are = "is" if len(shared) == 1 else "are"
    return (
        f"WARNING, leakage: {len(shared):,} of the {tested:,} {kind}s evaluated here {are} also in training or "
        f"validation ({shorten(shared)}); the metrics do not estimate performance on new {kind}s."
    )


def split_sentence(splits: pd.DataFrame, kind: str) -> str:
    """Sentence on the split of a run: groups in more than one of the parts that it has.

    Args:
        splits: Columns `group, split`.
        kind: What a group is: "patient", "block" or "image".
    """
    splits = splits[["group", "split"]].astype(str)
    found = splits.groupby("group")["split"].nunique()
    shared, parts = sorted(found.index[found > 1]), [name for name in FRACTIONS if name in set(splits["split"])]
    parts += sorted(set(splits["split"]) - set(parts))
    if not shared:
        return f"Split: no {kind} is in more than one of {', '.join(parts)}."
    are = f"{kind} is" if len(shared) == 1 else f"{kind}s are"
    return (
        f"WARNING, leakage: {len(shared):,} {are} in more than one of {', '.join(parts)} ({shorten(shared)}); the "
        f"metrics do not estimate performance on new {kind}s."
    )


def threshold_sentence(threshold: float | np.ndarray | None, networks: Sequence[Mapping[str, Any]]) -> str:
    """Sentence on the decision threshold and the rule that chose it.

    Args:
        threshold: `threshold` of `Predictions`.
        networks: Metadata of the checkpoints.
    """
    if not networks:
        return "Threshold: 0.5, none chosen."
    rules = shorten(dict.fromkeys(each.get("threshold_rule", "not recorded by an older run") for each in networks))
    if threshold is None:
        return f"Threshold: 0.5, none chosen; rule: {rules}."
    values = ", ".join(f"{value:.3f}" for value in np.unique(threshold))
    reached = shorten(dict.fromkeys(text for each in networks if (text := _reached(each))))
    mean = f", the mean of {len(networks)} networks" if len(networks) > 1 and np.ndim(threshold) == 0 else ""
    found = f"reached: {reached}; " if reached else ""
    return f"Threshold {values}{mean}; rule: {rules}; {found}chosen before the test."


def abstention_sentences(predictions: Predictions) -> list[str]:
    """Sentence on the test images on which the network abstains; none where it has no rule for that."""
    abstained = predictions.abstained
    if abstained is None:
        return []
    count, values = abstained.sum() / predictions.repeats, np.unique(np.asarray(predictions.abstain_below).round(3))
    others = predictions.correct[~abstained]
    accuracy = f"; accuracy of the others: {others.mean():.3f}" if len(others) else ""
    return [
        f"Abstention: the calibrated probability of the predicted class is below {', '.join(map(str, values))}, as for "
        f"10 % of the validation images, on {count:,.0f} of {predictions.images:,} images{accuracy} (of all: "
        f"{predictions.correct.mean():.3f})."
    ]


def _reached(network: Mapping[str, Any]) -> str:
    """What the threshold of a network found on validation; empty for an older run."""
    if network.get("threshold_sensitivity") is None:
        return ""
    groups, kind = network["threshold_groups"], network.get("group_kind", "patient")
    of = f"{network['threshold_images']:,} malignant images of {groups:,} {kind}{'s' * (groups != 1)}"
    return f"{network['threshold_sensitivity']:.3f} of {of}"


def prevalence_sentence(shift: PriorShift) -> str:
    """Sentence on probabilities that are adjusted to a stated prevalence."""
    learned = ", ".join(f"{value:.3f}" for value in np.unique(shift.learned))
    return (
        f"Probabilities and thresholds are adjusted from the fraction of malignant images in training, {learned}, to "
        f"{shift.stated:g} (Saerens et al. 2002): right where that is the fraction, and where malignant and benign "
        "images each look as in training."
    )


def count_images(table: pd.DataFrame, classes: Iterable[str]) -> pd.DataFrame:
    """Count images and groups of each class in each split.

    Args:
        table: Columns `label, group, split`.
        classes: Class names, in the order of the columns.

    Returns:
        One row per split with images: `split`, a column per class and `total`, each `images / groups`.
    """
    table = table.astype(str)
    rows = []
    for split in dict.fromkeys([*FRACTIONS, *table["split"]]):
        part = table[table["split"] == split]
        parts = [*(part[part["label"] == label] for label in classes), part]
        if len(part):
            rows.append([split, *(f"{len(rows_of):,} / {rows_of['group'].nunique():,}" for rows_of in parts)])
    return pd.DataFrame(rows, columns=["split", *classes, "total"])
