"""Report sections on results: metrics, curves, threshold, calibration, patients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from hemai.evaluation import plots
from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.planning import patients_needed
from hemai.evaluation.shortcuts import AREA, ranking_metric
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table, picture_of_run
from hemai.reporting.text import (
    NO_PATIENTS,
    format_interval,
    format_number,
    leakage_sentence,
    metric_label,
)
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import shorten
from hemai.utils.pictures import draw_confusion, render

RULES = {
    "majority": "majority of the images",
    "mean_vote": "mean probability",
    "majority_at_threshold": "majority of the images at t",
    "mean_vote_at_threshold": "mean probability at t",
}
CLUSTERING = {"correlation": "intra-class correlation", "design_effect": "design effect"}
HALF_WIDTH = 0.05  # of the interval that the report plans for
GROUPS = 20  # rows of the table of groups; groups.csv has all


def _caveats(evaluation: Evaluation, shared: Sequence[str] | None) -> list[str]:
    """Caveats on the metrics: leakage, groups that are not patients, few groups, only one outcome."""
    kind, few = evaluation.kind, evaluation.underpowered_classes()
    caveats = [leakage_sentence(shared, kind, len(evaluation.groups), evaluation.predictions.networks)]
    if single := [label for label, count in few.items() if count == 1]:
        caveats.insert(
            int(shared is None or len(shared) > 0),  # after leakage, which is worse
            f"WARNING: one {kind} of {shorten(single)}: these metrics describe the {len(evaluation.groups):,} {kind}s "
            "tested, and do not estimate performance on new ones.",
        )
    if kind == "block":
        caveats.append(f"WARNING: {NO_PATIENTS}")
    if several := {label: count for label, count in few.items() if count != 1}:
        counts = shorten(f"{label} ({count})" for label, count in several.items())
        caveats.append(
            f"WARNING: fewer than {FEW_GROUPS} {kind}s of {counts}: intervals rest more on assumptions than on data."
        )
    if evaluation.predictions.positive and not evaluation.has_both_outcomes:
        caveats.append("WARNING: all images are malignant, or all benign: metrics that need both are not defined.")
    return caveats


def results_section(evaluation: Evaluation, shared: Sequence[str] | None, baselines: pd.DataFrame | None) -> Section:
    """Section with caveats and every metric with its intervals; `baselines`: table of `shortcut_table`."""
    kind, predictions = evaluation.kind, evaluation.predictions
    sentences = _caveats(evaluation, shared)
    if predictions.repeats > 1:
        sentences.append(
            f"Each image is tested by {predictions.repeats} networks that did not train on its {kind}: metrics are "
            "means over them, and an interval counts each image once."
        )
    if predictions.positive:
        sentences.append("recall (sensitivity), specificity, precision, f1 and AUROC: malignant against benign.")
    rows = [
        (
            metric_label(row["metric"]),
            format_number(row["value"]),
            format_interval(row["low"], row["high"]),
            f"{row['groups']:,}",
            format_number(row["by_group"]),
            format_interval(row["low_images"], row["high_images"]),
        )
        for row in evaluation.metrics.to_dict("records")
    ]
    if baselines is not None:
        by = ranking_metric(baselines)
        for row in baselines[baselines["feature"] == AREA].to_dict("records"):
            name, limits = f"{by}/gain", format_interval(row[f"{by}/gain/low"], row[f"{by}/gain/high"], "+")
            rows.append((f"{by} less that of the cell area", format_number(row[name], "+"), limits, "", "", ""))
    columns = ["metric", "value", f"95 % for new {kind}s", f"{kind}s", f"each {kind} counts once"]
    columns.append("95 % if images were independent")
    caption = (
        f"{predictions.images:,} images of {len(evaluation.groups):,} {kind}s. The first interval holds for "
        f"new {kind}s; the last assumes that images are independent, and is too narrow."
    )
    return Section("Results", sentences, [Table(pd.DataFrame(rows, columns=columns), caption)], is_brief=True)


def drop_section(drop: pd.DataFrame) -> Section:
    """Section on the performance drop; `drop`: table of `hemai.evaluation.external_test.performance_drop`."""
    rows = [
        (
            row["metric"],
            format_number(row["own"]),
            format_number(row["here"]),
            format_number(row["drop"], "+"),
            format_interval(row["low"], row["high"]),
        )
        for row in drop.to_dict("records")
    ]
    sentence = "Metrics on the network's own test images and on these; a positive drop means a lower value on these."
    columns = ["metric", "own test images", "these images", "drop", "95 % of the drop"]
    return Section("Performance drop", [sentence], [Table(pd.DataFrame(rows, columns=columns))], is_brief=True)


def curves_section(evaluation: Evaluation, own: SavedRun | None) -> Section:
    """Section with confusion matrix, ROC and precision-recall curve; `own`: run whose test images these are."""
    predictions = evaluation.predictions
    pictures = [
        picture_of_run(
            own,
            "confusion_matrix_test",
            lambda: draw_confusion(predictions.confusion_matrix(), predictions.classes, "test images"),
            "Rows are true classes, columns predicted ones. A good network is dark on the diagonal.",
        )
    ]
    if evaluation.has_both_outcomes:
        pictures += [
            render(
                "roc",
                plots.draw_roc(predictions),
                "The closer to the upper left corner, the better; a band holds at each point, not for all at once.",
            ),
            render(
                "precision_recall",
                plots.draw_precision_recall(predictions),
                "The closer to the upper right corner, the better; chance is the fraction of malignant images.",
            ),
        ]
    return Section("Confusion matrix and curves", pictures=pictures)


def group_sections(evaluation: Evaluation) -> list[Section]:
    """Section on results per patient or block, worst first; empty list if every image is its own group."""
    kind, groups = evaluation.kind, evaluation.groups
    if kind == "image":
        return []
    sentences = []
    for rule, proportions in evaluation.patient_rules.items():
        parts = (
            f"{name} {part.correct} of {part.total} ({format_interval(part.interval.low, part.interval.high)})"
            for name, part in proportions.items()
        )
        sentences.append(f"{kind.capitalize()}s predicted by {RULES[rule]}: {', '.join(parts)}.")
    if (auroc := evaluation.patient_auroc) is not None:
        limits = format_interval(auroc.low, auroc.high)
        sentences.append(f"AUROC of the {kind}s' mean probabilities: {format_number(auroc.value)} ({limits}).")
    if evaluation.are_patients and evaluation.has_both_outcomes:
        needed = patients_needed(evaluation.predictions, HALF_WIDTH).set_index("metric")["patients_needed"]
        sentences.append(
            f"For 95 % intervals of +-{HALF_WIDTH:g}, a test needs about {needed['recall']:,} malignant and "
            f"{needed['specificity']:,} benign {kind}s like these (hemai plan)."
        )
    columns = {"group": kind, "label": "class", "images": "images", "accuracy": "accuracy"}
    columns |= {"called_malignant": "predicted malignant", "mean_probability": "mean probability of malignant"}
    rows = groups.head(GROUPS)[[name for name in columns if name in groups]].copy()
    for name in rows.columns[3:]:
        rows[name] = rows[name].map("{:.3f}".format)
    caption = f"The {GROUPS} with the most errors; groups.csv has all {len(groups):,}." * (len(groups) > GROUPS)
    picture = render(
        "groups",
        plots.draw_groups(groups, kind),
        f"Accuracy of each {kind}, worst first; number of images in parentheses.",
    )
    tables = [Table(rows.rename(columns=columns), caption, texts=2), _clustering_table(evaluation)]
    return [Section(f"Per-{kind} results", sentences, tables, [picture], is_brief=True)]


def _clustering_table(evaluation: Evaluation) -> Table:
    kind, table = evaluation.kind, evaluation.clustering
    shown = pd.DataFrame({"metric": table["metric"], f"{kind}s": table["groups"]})
    shown["images"] = table["images"].map("{:,}".format)
    for name, heading in CLUSTERING.items():
        shown[heading] = table[name].map(lambda value: "not defined" if math.isnan(value) else f"{value:.2f}")
    shown["effective images"] = table["effective_images"].map(
        lambda value: "not defined" if math.isnan(value) else f"{value:,.0f}"
    )
    return Table(shown, f"Images of one {kind} resemble each other; as many independent ones would tell as much.")
