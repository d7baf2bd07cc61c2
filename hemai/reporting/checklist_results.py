"""Results of runs as facts for checklists, and where they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from hemai.evaluation.intervals import Interval
from hemai.evaluation.metrics import AT_THRESHOLD
from hemai.reporting.sections_results import RULES
from hemai.reporting.study import Fact, Study
from hemai.reporting.text import format_interval, format_number, threshold_sentence

BINARY: tuple[str, ...] = ("recall", "specificity")


def tested(study: Study) -> Fact:
    """Number of test images and groups."""
    evaluation = study.evaluation
    groups = f" of {len(evaluation.groups):,} {evaluation.kind}s" if evaluation.kind != "image" else ""
    images = evaluation.predictions.images
    return f"{images:,} images{groups} tested; `hemai plan` tells how many a test needs", "report: Results"


def metrics(study: Study) -> Fact:
    """Names of the metrics."""
    return ", ".join(study.evaluation.over_groups), "report: Results; result.json"


def intervals(study: Study) -> Fact:
    """What the intervals hold for."""
    text = f"95 % for new {study.evaluation.kind}s, beside those as if images were independent"
    return text, "report: Results; docs/evaluation.md"


def clusters(study: Study) -> Fact | None:
    """How much images of one group resemble each other; None if every image is its own group."""
    table = study.evaluation.clustering.dropna()
    if study.evaluation.kind == "image" or table.empty:
        return None
    effects = ", ".join(f"{row['metric']} {row['correlation']:.2f}" for row in table.to_dict("records"))
    kind = study.evaluation.kind
    return f"results of each {kind}; intra-class correlation: {effects}", f"report: Per-{kind} results"


def _with_limits(interval: Interval) -> str:
    return f"{format_number(interval.value)} ({format_interval(interval.low, interval.high)})"


def performance(study: Study) -> Fact:
    """Recall and specificity at the threshold; accuracy without malignant classes."""
    metrics, prefix = study.evaluation.over_groups, ""
    if study.evaluation.predictions.threshold is not None and f"{AT_THRESHOLD}recall" in metrics:
        prefix = AT_THRESHOLD
    names = [name for name in BINARY if name in metrics] or ["accuracy"]
    at = " at the threshold" if prefix else ""
    return ", ".join(f"{name}{at} {_with_limits(metrics[prefix + name])}" for name in names), "report: Results"


def auroc(study: Study) -> Fact | None:
    """AUROC with its interval; None without malignant classes."""
    if "auroc" not in (metrics := study.evaluation.over_groups):
        return None
    return f"AUROC {_with_limits(metrics['auroc'])}", "report: Results; Confusion matrix and curves"


def patients(study: Study) -> Fact | None:
    """Whole patients that are predicted correctly; None if groups are not patients."""
    if not (rules := study.evaluation.patient_rules):
        return None
    rule, proportions = list(rules.items())[-1]
    counts = ", ".join(f"{name} {part.correct} of {part.total}" for name, part in proportions.items())
    return f"patients by {RULES[rule]}: {counts}", "report: Per-patient results; groups.csv of hemai evaluate"


def confusion(study: Study) -> Fact:
    """Confusion matrix in words."""
    predictions = study.evaluation.predictions
    table = pd.crosstab(predictions.table["label"].to_numpy(), predictions.predicted)
    cells = (f"{label} as {name} {count:,}" for label, row in table.iterrows() for name, count in row.items())
    return f"true class as predicted class: {', '.join(cells)}", "report: Confusion matrix and curves"


def errors(study: Study) -> Fact:
    """Number of misclassified images."""
    correct = study.evaluation.predictions.correct
    return f"{(~correct).sum():,} of {len(correct):,} images misclassified", "report: Most confident errors"


def threshold(study: Study) -> Fact:
    """Decision threshold and its rule."""
    networks = [run.metadata for run in study.runs]
    return threshold_sentence(study.evaluation.predictions.threshold, networks), "report: Decision threshold"


def calibration(study: Study) -> Fact:
    """Calibration error and Brier score."""
    values = study.evaluation.calibration
    return f"ECE {values['ece']:.3f}, Brier score {values['brier']:.3f}", "report: Calibration"


FACTS_OF_RESULTS: Mapping[str, Callable[[Study], Fact | None]] = {
    "tested": tested,
    "metrics": metrics,
    "intervals": intervals,
    "clusters": clusters,
    "performance": performance,
    "auroc": auroc,
    "patients": patients,
    "confusion": confusion,
    "errors": errors,
    "threshold": threshold,
    "calibration": calibration,
}
