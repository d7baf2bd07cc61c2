"""First section of a report: the results in plain words, for a clinician."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hemai.evaluation.external_test import ExternalTest
from hemai.evaluation.intervals import Interval
from hemai.evaluation.metrics import AT_THRESHOLD
from hemai.evaluation.shortcuts import AREA, ranking_metric
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table
from hemai.reporting.text import RESEARCH_ONLY, format_interval, format_number, leakage_sentence
from hemai.runs.saved_run import SavedRun

FOUND = {"recall": ("malignant", "found"), "specificity": ("benign", "recognised as benign")}
PATIENT_METRICS = {"sensitivity": FOUND["recall"], "specificity": FOUND["specificity"]}


def summary_section(
    evaluation: Evaluation,
    runs: Sequence[SavedRun],
    shared: Sequence[str] | None,
    baselines: pd.DataFrame | None,
    external: ExternalTest | None,
) -> Section:
    """Section with the task, the images tested and the main results per 100 images and per 100 patients.

    Args:
        evaluation: Results to summarise.
        runs: Runs that made the predictions; empty for a file of predictions.
        shared: Evaluated groups that also occur in training or validation; None: unknown.
        baselines: Table of `hemai.evaluation.shortcuts.shortcut_table` with the network; None: not computed.
        external: External test set; None for the runs' own test images.
    """
    rows = [
        ("task", task(evaluation)),
        ("tested on", _tested(evaluation, runs)),
        *([("threshold", _threshold(evaluation))] if evaluation.predictions.positive else []),
        *_image_rows(evaluation),
        *_patient_rows(evaluation),
        ("more than cell area", _gain(baselines)),
        ("external test", external_test(runs, external)),
        ("use", RESEARCH_ONLY),
    ]
    caption = f"In parentheses: 95 % intervals for new {evaluation.kind}s, such as those of the next study."
    warning = [] if shared == [] else [leakage_sentence(shared, evaluation.kind, len(evaluation.groups))]
    return Section(
        "Summary", warning, tables=[Table(pd.DataFrame(rows, columns=["question", "answer"]), caption, 2)], box=True
    )


def task(evaluation: Evaluation) -> str:
    """What the network tells apart, in plain words."""
    classes, positive = evaluation.predictions.classes, evaluation.predictions.positive
    if not positive:
        return f"tell {', '.join(classes)} apart in microscope images"
    benign = ", ".join(label for label in classes if label not in positive) or "none"
    return f"tell malignant ({', '.join(positive)}) from benign ({benign}) in microscope images of stained cells"


def _tested(evaluation: Evaluation, runs: Sequence[SavedRun]) -> str:
    kind, table = evaluation.kind, evaluation.predictions.table
    images = f"{evaluation.predictions.images:,} images"
    if kind != "image":
        counts = table.groupby("label")["group"].nunique()
        by_class = ", ".join(f"{label}: {counts.get(label, 0):,}" for label in evaluation.predictions.classes)
        images += f" of {len(evaluation.groups):,} {kind}s ({by_class})"
    if len(runs) > 1:
        pooled = evaluation.predictions.network is not None
        images += f", by {len(runs)} networks, {'each on its own test images' if pooled else 'averaged'}"
    return images


def _threshold(evaluation: Evaluation) -> str:
    threshold = evaluation.predictions.threshold
    if threshold is None:
        return "an image is called malignant from a probability of 0.5; no threshold was chosen"
    values = np.unique(threshold)
    limits = f"{values[0]:.3f}" if len(values) == 1 else f"{values[0]:.3f} to {values[-1]:.3f}, by network"
    return f"an image is called malignant from a probability of {limits}, chosen before the test"


def _image_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    metrics = evaluation.over_groups
    if not evaluation.predictions.positive:
        return [("per 100 images", _per_100(metrics["accuracy"], "classified correctly"))]
    prefix = "" if evaluation.predictions.threshold is None else AT_THRESHOLD
    return [
        (f"per 100 {outcome} images", _per_100(metrics[f"{prefix}{metric}"], verb))
        for metric, (outcome, verb) in FOUND.items()
    ]


def _patient_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    if not evaluation.predictions.positive:
        return []
    if not evaluation.are_patients:
        return [("per 100 patients", "not known: the images do not name their patients")]
    rules = evaluation.patient_rules
    proportions = rules.get("majority_at_threshold") or rules["majority"]
    return [
        (
            f"per 100 {outcome} patients",
            f"{_per_100(proportions[metric].interval, verb)}; {proportions[metric].correct} of "
            f"{proportions[metric].total} here, by the majority of their images",
        )
        for metric, (outcome, verb) in PATIENT_METRICS.items()
    ]


def _per_100(interval: Interval, verb: str) -> str:
    if math.isnan(interval.value):
        return "not defined: none was tested"
    limits = (
        "interval not defined" if math.isnan(interval.low) else f"{100 * interval.low:.0f} to {100 * interval.high:.0f}"
    )
    return f"{100 * interval.value:.0f} {verb} ({limits})"


def _gain(baselines: pd.DataFrame | None) -> str:
    if baselines is None or not (rows := baselines[baselines["feature"] == AREA].to_dict("records")):
        return "not known: the size of the cells was not measured"
    by, row = ranking_metric(baselines), rows[0]
    low, high = row[f"{by}/gain/low"], row[f"{by}/gain/high"]
    verdict = "more than" if low > 0 else "less than" if high < 0 else "not shown to differ from"
    name = "AUROC" if by == "auroc" else by
    gain = f"{name} {format_number(row[f'{by}/gain'], '+')} ({format_interval(low, high, '+')})"
    return f"{gain}: {verdict} what the size of the cells alone tells"


def external_test(runs: Sequence[SavedRun], external: ExternalTest | None) -> str:
    """Whether there is an external test, and where; "none" if not."""
    if not runs:
        return "not known: a file of predictions does not name its training images"
    if external is None:
        others = sorted({split for run in runs if run.folder for split in run.folder.predicted_splits()})
        others = [split for split in others if split not in ("val", "test")]
        return f"in the run's result.json: {', '.join(others)}" if others else "none"
    trained = runs[0].metadata["data"]
    return f"yes, this one: images of {external.dataset.name}, by a network trained on {trained}"
