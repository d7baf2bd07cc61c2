"""What a report tells of an evaluation and of the runs behind it, section by section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from hemai.data import CellDataModule
from hemai.errors import UserError
from hemai.evaluation import plots
from hemai.evaluation.calibration import reliability
from hemai.evaluation.elsewhere import Elsewhere
from hemai.evaluation.evaluation import Evaluation
from hemai.evaluation.features import AREA
from hemai.evaluation.finished import Finished
from hemai.evaluation.shortcuts import (
    NETWORK,
    feature_predictions,
    feature_predictions_elsewhere,
    ranking,
    shortcut_table,
)
from hemai.evaluation.terminal import limits, number, sentences, shared_sentence, shown, signed, votes
from hemai.figures import draw_confusion
from hemai.metrics import confusion_matrix
from hemai.reporting.blocks import Picture, Section, Table
from hemai.reporting.of_images import tell_mistakes, tell_shortcuts
from hemai.reporting.of_runs import tell_limits, tell_repeat, tell_training

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
        shared: Groups that stand on both sides; None: nobody knows.
        elsewhere: If the images are not the runs' own test images.
    """
    modules, missing = _modules(runs)
    audit = _audit(evaluation, modules, elsewhere) if modules else None
    images = elsewhere.dataset if elsewhere else modules[0].dataset if modules else None
    duplicates_of = modules[0] if modules and not elsewhere else None
    return [
        _figures(evaluation, shared, audit),
        *([_drop(elsewhere.drop)] if elsewhere and elsewhere.drop is not None else []),
        *tell_training(runs),
        _calls(evaluation),
        *_threshold(evaluation, runs),
        _calibration(evaluation),
        *_groups(evaluation),
        *([tell_mistakes(evaluation, images)] if images else []),
        *([tell_shortcuts(audit, evaluation.kind, duplicates_of)] if audit is not None else []),
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


def _figures(evaluation: Evaluation, shared: Sequence[str] | None, audit: pd.DataFrame | None) -> Section:
    kind, predictions = evaluation.kind, evaluation.predictions
    told = [sentence for sentence in sentences(evaluation) if sentence.startswith("WARNING")]
    if leakage := shared_sentence(shared, kind):
        told.insert(0, leakage)
    if kind == "block":
        told.insert(
            0, "WARNING: groups are blocks of consecutive images, not patients; nobody published patient numbers."
        )
    told.append(
        f"{len(predictions.targets):,} images of {len(evaluation.groups):,} {kind}s. The first interval says where the "
        f"figure may lie for new {kind}s; the second takes images for independent, and is too narrow."
    )
    if predictions.positive:
        told.append("recall (sensitivity), specificity, precision, f1 and AUROC: malignant against benign.")
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
        of = ranking(audit)
        value, low, high = audit.loc[audit["feature"] == AREA, [of, f"{of}/low", f"{of}/high"]].to_numpy(float)[0]
        rows.append((f"baseline: {of} of the cell area alone", number(value), limits(low, high), "", ""))
    columns = ["figure", "value", f"95 % for new {kind}s", f"{kind}s", "95 % if images were independent"]
    return Section("Figures", told, [Table(pd.DataFrame(rows, columns=columns))])


def _drop(drop: pd.DataFrame) -> Section:
    rows = [
        (row["figure"], number(row["own"]), number(row["here"]), signed(row["drop"]), limits(row["low"], row["high"]))
        for row in drop.to_dict("records")
    ]
    told = "What the network reached on its own test images, and what it reaches here; a positive drop is a loss."
    columns = ["figure", "own test images", "these images", "drop", "95 % of the drop"]
    return Section("Drop on other images", [told], [Table(pd.DataFrame(rows, columns=columns))])


def _calls(evaluation: Evaluation) -> Section:
    predictions, kind = evaluation.predictions, evaluation.kind
    matrix = confusion_matrix(
        torch.tensor(predictions.logits), torch.tensor(predictions.targets), len(predictions.classes)
    )
    pictures = [
        Picture(
            "confusion_matrix",
            draw_confusion(matrix, predictions.classes, "all images"),
            "Each row is a true class: what its images were called. A good network is dark on the diagonal.",
        )
    ]
    if evaluation.both_kinds:
        pictures += [
            Picture(
                "roc",
                plots.draw_roc(predictions, kind),
                "The nearer to the upper left corner, the better; the band shows how much depends on who was tested.",
            ),
            Picture(
                "precision_recall",
                plots.draw_precision_recall(predictions, kind),
                "The nearer to the upper right corner, the better; chance is the share of malignant images.",
            ),
        ]
    return Section("What was called what", pictures=pictures)


def _threshold(evaluation: Evaluation, runs: Sequence[Finished]) -> list[Section]:
    if not evaluation.predictions.positive:
        return []
    told = "An image is called malignant when the probabilities of the malignant classes sum to 0.5."
    rules = "; ".join(dict.fromkeys(run.facts.get("threshold_rule", "none, an older run") for run in runs))
    if (threshold := evaluation.predictions.threshold) is None:
        return [Section("Threshold", [f"{told} No other threshold was chosen. Rule: {rules}."])]
    values = ", ".join(f"{value:.3f}" for value in np.unique(threshold))
    mean = " (the mean of those of the networks)" if len(runs) > 1 and np.ndim(threshold) == 0 else ""
    chosen = f"The figures “at t” take another threshold: {values}{mean}. Rule: {rules}; chosen before the test."
    return [Section("Threshold", [told, chosen])]


def _calibration(evaluation: Evaluation) -> Section:
    calibrated = evaluation.predictions.calibrated
    rows = [
        (name, number(evaluation.calibration[name]), number(evaluation.calibration.get(f"{name}_calibrated", np.nan)))
        for name in ("ece", "brier")
    ]
    columns = ["figure", "as the network says", "after temperature scaling"]
    pictures = [
        Picture(
            "reliability",
            plots.draw_reliability(evaluation.bins, None if calibrated is None else reliability(calibrated)),
            "Below the diagonal the network is too sure, above it not sure enough; large points are many images.",
        ),
        Picture(
            "abstention",
            plots.draw_abstention(evaluation.answered),
            "Accuracy when only the surest images are answered, the rest left to a human: it should rise to the left.",
        ),
    ]
    said = (
        "ECE: mean distance of confidence and accuracy. Brier score: mean squared distance of probability and truth. "
        "0 is best."
    )
    return Section("Calibration", [said], [Table(pd.DataFrame(rows, columns=columns))], pictures)


def _groups(evaluation: Evaluation) -> list[Section]:
    kind, groups = evaluation.kind, evaluation.groups
    if kind == "image":
        return []
    columns = {"group": kind, "label": "class", "images": "images", "accuracy": "called right"}
    columns |= {"called_malignant": "called malignant", "mean_probability": "mean probability of malignant"}
    rows = groups.head(GROUPS)[[name for name in columns if name in groups]].copy()
    for name in rows.columns[3:]:
        rows[name] = rows[name].map("{:.3f}".format)
    caption = f"the {GROUPS} with the most mistakes; groups.csv has all {len(groups):,}" if len(groups) > GROUPS else ""
    picture = Picture(
        "groups",
        plots.draw_groups(groups, kind),
        f"How far one {kind} differs from another, worst first; in parentheses the number of images.",
    )
    return [
        Section(f"{kind.capitalize()}s", votes(evaluation), [Table(rows.rename(columns=columns), caption)], [picture])
    ]
