"""The sections of a report on an evaluation and the runs behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from hemai.data import CellDataModule
from hemai.errors import UserError, some
from hemai.evaluation import plots
from hemai.evaluation.calibration import reliability
from hemai.evaluation.elsewhere import Elsewhere
from hemai.evaluation.evaluation import VOTES, Evaluation
from hemai.evaluation.features import AREA
from hemai.evaluation.finished import Finished
from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.shortcuts import (
    NETWORK,
    feature_predictions,
    feature_predictions_elsewhere,
    ranking,
    shortcut_table,
)
from hemai.figures import draw_confusion, render
from hemai.reporting.blocks import Section, Table
from hemai.reporting.drawn import picture_of_run
from hemai.reporting.of_images import tell_errors, tell_shortcuts
from hemai.reporting.of_runs import tell_limits, tell_repeat, tell_training
from hemai.text import NO_PATIENTS, leakage_sentence, limits, number, shown, threshold_sentence

GROUPS = 20  # rows of the table of groups; the file has all


def tell(
    evaluation: Evaluation,
    runs: Sequence[Finished],
    shared: Sequence[str] | None = (),
    elsewhere: Elsewhere | None = None,
) -> list[Section]:
    """All sections of a report, the most important first.

    Args:
        evaluation: Of the runs.
        runs: One, the folds of a cross-validation, or an ensemble.
        shared: Groups with images in training or validation and among the evaluated ones; None: not known.
        elsewhere: If the images are not the runs' own test images.
    """
    modules, missing = _modules(runs)
    audit = _audit(evaluation, modules, elsewhere) if modules else None
    images = elsewhere.dataset if elsewhere else modules[0].dataset if modules else None
    own = runs[0] if len(runs) == 1 and elsewhere is None else None  # has drawn its test images already
    return [
        _results(evaluation, shared, audit),
        *([_drop(elsewhere.drop)] if elsewhere and elsewhere.drop is not None else []),
        *tell_training(runs),
        _curves(evaluation, own),
        *_threshold(evaluation, runs),
        _calibration(evaluation),
        *_groups(evaluation),
        *([tell_errors(evaluation, own, images)] if images else []),
        *([tell_shortcuts(audit, evaluation.kind, None if elsewhere else modules[0])] if audit is not None else []),
        tell_limits(runs, images, missing, elsewhere is None),
        tell_repeat(runs),
    ]


def _modules(runs: Sequence[Finished]) -> tuple[list[CellDataModule], str]:
    try:
        return [run.data() for run in runs], ""
    except UserError as error:
        return [], str(error)


def _audit(evaluation: Evaluation, modules: Sequence[CellDataModule], elsewhere: Elsewhere | None) -> pd.DataFrame:
    if elsewhere:
        parts = [feature_predictions_elsewhere(modules[0], elsewhere.dataset, elsewhere.predictions.table)]
        parts = [{name: elsewhere.merge(predictions) for name, predictions in part.items()} for part in parts]
    else:
        parts = [feature_predictions(data) for data in modules]
    network = shortcut_table([{NETWORK: evaluation.predictions}])
    return pd.concat([shortcut_table(parts), network], ignore_index=True)


def _caveats(evaluation: Evaluation, shared: Sequence[str] | None) -> list[str]:
    """What limits the trust in the metrics: leakage, groups that are no patients, few groups, a missing class."""
    kind = evaluation.kind
    found = [leakage_sentence(shared, kind)]
    if kind == "block":
        found.append(f"WARNING: {NO_PATIENTS}")
    if few := evaluation.few_groups():
        counts = some(f"{label} ({count})" for label, count in few.items())
        found.append(f"WARNING: fewer than {FEW_GROUPS} {kind}s of {counts}: intervals mean little.")
    if evaluation.predictions.positive and not evaluation.both_kinds:
        found.append("WARNING: all images are malignant, or all benign: metrics that need both are not defined.")
    return found


def _results(evaluation: Evaluation, shared: Sequence[str] | None, audit: pd.DataFrame | None) -> Section:
    kind, predictions = evaluation.kind, evaluation.predictions
    sentences = _caveats(evaluation, shared)
    if predictions.positive:
        sentences.append("recall (sensitivity), specificity, precision, f1 and AUROC: malignant against benign.")
    rows = [
        (
            shown(row["figure"]),
            number(row["value"]),
            limits(row["low"], row["high"]),
            f"{row['groups']:,}",
            limits(row["low_images"], row["high_images"]),
        )
        for row in evaluation.figures().to_dict("records")
    ]
    if audit is not None:
        by = ranking(audit)
        value, low, high = audit.loc[audit["feature"] == AREA, [by, f"{by}/low", f"{by}/high"]].to_numpy(float)[0]
        rows.append((f"baseline: {by} of the cell area alone", number(value), limits(low, high), "", ""))
    columns = ["metric", "value", f"95 % for new {kind}s", f"{kind}s", "95 % if images were independent"]
    caption = (
        f"{len(predictions.targets):,} images of {len(evaluation.groups):,} {kind}s. The first interval says where the "
        f"metric may lie for new {kind}s; the second takes images for independent, and is too narrow."
    )
    return Section("Results", sentences, [Table(pd.DataFrame(rows, columns=columns), caption)], is_brief=True)


def _drop(drop: pd.DataFrame) -> Section:
    rows = [
        (
            row["figure"],
            number(row["own"]),
            number(row["here"]),
            number(row["drop"], "+"),
            limits(row["low"], row["high"]),
        )
        for row in drop.to_dict("records")
    ]
    sentence = "On the network's own test images, and on these; a positive drop is a loss."
    columns = ["metric", "own test images", "these images", "drop", "95 % of the drop"]
    return Section("Performance drop", [sentence], [Table(pd.DataFrame(rows, columns=columns))], is_brief=True)


def _curves(evaluation: Evaluation, own: Finished | None) -> Section:
    predictions, kind = evaluation.predictions, evaluation.kind
    pictures = [
        picture_of_run(
            own,
            "confusion_matrix_test",
            lambda: draw_confusion(predictions.confusion_matrix(), predictions.classes, "test images"),
            "Each row is a true class: how its images are predicted. A good network is dark on the diagonal.",
        )
    ]
    if evaluation.both_kinds:
        pictures += [
            render(
                "roc",
                plots.draw_roc(predictions, kind),
                "The nearer to the upper left corner, the better; the band shows how much depends on who was tested.",
            ),
            render(
                "precision_recall",
                plots.draw_precision_recall(predictions, kind),
                "The nearer to the upper right corner, the better; chance is the fraction of malignant images.",
            ),
        ]
    return Section("Confusion matrix and curves", pictures=pictures)


def _threshold(evaluation: Evaluation, runs: Sequence[Finished]) -> list[Section]:
    if not evaluation.predictions.positive:
        return []
    sentences = [
        "An image is predicted malignant when the probabilities of the malignant classes sum to 0.5 or more; for the "
        "metrics “at t”, to the threshold t or more.",
        threshold_sentence(evaluation.predictions.threshold, [run.facts for run in runs]),
    ]
    return [Section("Decision threshold", sentences, is_brief=True)]


def _calibration(evaluation: Evaluation) -> Section:
    calibrated, values = evaluation.predictions.calibrated, evaluation.calibration
    rows = [
        (name, number(values[name]), number(values.get(f"{name}_calibrated", math.nan))) for name in ("ece", "brier")
    ]
    columns = ["metric", "of the network", "after temperature scaling"]
    surest = evaluation.answered.set_index("coverage")["accuracy"][0.5]
    sentences = [
        f"ECE {values['ece']:.3f} is the mean distance of confidence and accuracy, the Brier score "
        f"{values['brier']:.3f} the mean squared distance of probability and truth; 0 is best.",
        f"Accuracy on the surest half of the images: {surest:.3f}.",
    ]
    pictures = [
        render(
            "reliability",
            plots.draw_reliability(evaluation.bins, None if calibrated is None else reliability(calibrated)),
            "Below the diagonal the network is too sure, above it not sure enough; large points are many images.",
        ),
        render(
            "abstention",
            plots.draw_abstention(evaluation.answered),
            "Accuracy when only the surest images are answered, the rest left to a human: it should rise to the left.",
        ),
    ]
    table = Table(pd.DataFrame(rows, columns=columns))
    return Section("Calibration", sentences, [table], pictures, is_brief=True)


def _groups(evaluation: Evaluation) -> list[Section]:
    kind, groups = evaluation.kind, evaluation.groups
    if kind == "image":
        return []
    sentences = []
    for vote, shares in evaluation.votes.items():
        parts = (
            f"{name} {share.right} of {share.groups} ({limits(share.interval.low, share.interval.high)})"
            for name, share in shares.items()
        )
        sentences.append(f"{kind.capitalize()}s predicted by {VOTES[vote]}: {', '.join(parts)}.")
    columns = {"group": kind, "label": "class", "images": "images", "accuracy": "accuracy"}
    columns |= {"called_malignant": "predicted malignant", "mean_probability": "mean probability of malignant"}
    rows = groups.head(GROUPS)[[name for name in columns if name in groups]].copy()
    for name in rows.columns[3:]:
        rows[name] = rows[name].map("{:.3f}".format)
    caption = f"The {GROUPS} with the most errors; groups.csv has all {len(groups):,}." * (len(groups) > GROUPS)
    picture = render(
        "groups",
        plots.draw_groups(groups, kind),
        f"How far one {kind} differs from another, worst first; in parentheses the number of images.",
    )
    table = Table(rows.rename(columns=columns), caption, texts=2)
    return [Section(f"Per-{kind} results", sentences, [table], [picture], is_brief=True)]
