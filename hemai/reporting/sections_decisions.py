"""Report sections on decisions: threshold, predictive values, net benefit, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hemai.evaluation import plots
from hemai.evaluation.calibration import calibration_metrics, recalibrate, reliability
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table
from hemai.reporting.text import abstention_sentences, format_interval, format_number, threshold_sentence
from hemai.runs.saved_run import SavedRun
from hemai.utils.pictures import render


def threshold_sections(evaluation: Evaluation, networks: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Section on the decision threshold and its rule; empty list without malignant classes.

    Args:
        evaluation: Results of the networks.
        networks: See `hemai.runs.ensemble_threshold.threshold_facts`.
    """
    if not evaluation.predictions.positive:
        return []
    sentences = [
        "An image is predicted malignant when the probabilities of the malignant classes sum to 0.5 or more; for the "
        "metrics “at t”, to the threshold t or more.",
        threshold_sentence(evaluation.predictions.threshold, networks),
        *abstention_sentences(evaluation.predictions),
    ]
    if evaluation.predictive is None:
        return [Section("Decision threshold", sentences, is_brief=True)]
    rows = [
        (row["quantity"], format_number(row["value"]), format_interval(row["low"], row["high"]))
        for row in evaluation.predictive.to_dict("records")
    ]
    at = "0.5" if evaluation.predictions.threshold is None else "t"
    caption = (
        f"From recall and specificity at {at}. PPV at 0.05: the fraction of malignant images among those predicted "
        "malignant, where 5 % of all images are malignant."
    )
    table = Table(pd.DataFrame(rows, columns=["quantity", "value", f"95 % for new {evaluation.kind}s"]), caption)
    curve = render(
        "net_benefit",
        plots.draw_net_benefit(evaluation.predictions),
        "Decision curve: malignant images found per image, less false alarms weighted by the odds of the threshold.",
    )
    return [Section("Decision threshold", sentences, [table], [curve], is_brief=True)]


def calibration_section(evaluation: Evaluation, runs: Sequence[SavedRun]) -> Section:
    """Section with ECE, Brier score, reliability diagram and risk-coverage curve."""
    calibrated, values = evaluation.predictions.calibrated, evaluation.calibration
    fitted = {"temperature scaling": calibrated, "slope and intercept": _recalibrated(evaluation.predictions, runs)}
    metrics = {name: calibration_metrics(after) for name, after in fitted.items() if after is not None}
    rows = [
        (
            name.replace("_", " "),
            format_number(values[name]),
            *(format_number(after[name]) for after in metrics.values()),
        )
        for name in ("ece", "brier", "brier_classes")
        if name in values
    ]
    for name in ("calibration_slope", "calibration_intercept"):
        if name in values:
            limits = format_interval(values[f"{name}/low"], values[f"{name}/high"])
            rows.append((name.replace("_", " "), f"{format_number(values[name])} ({limits})", *[""] * len(metrics)))
    columns = ["metric", "network", *(f"after {name}" for name in metrics)]
    accuracy = evaluation.risk_coverage.set_index("coverage")["accuracy"][0.5]
    sentences = [
        f"ECE {values['ece']:.3f} is the mean difference of confidence and accuracy, the Brier score "
        f"{values['brier']:.3f} the mean squared error of the probability; 0 is best.",
        f"Accuracy on the most confident half of the images: {accuracy:.3f}.",
    ]
    sentences += [
        f"WARNING: {name}, fitted on validation images, made the Brier score worse here."
        for name, after in metrics.items()
        if after["brier"] > values["brier"]
    ]
    if accuracy < evaluation.risk_coverage.set_index("coverage")["accuracy"][1.0]:
        sentences.append("WARNING: leaving out the least confident images makes the accuracy worse here.")
    if "calibration_slope" in values:
        sentences.append(
            "A calibration slope below 1 means overconfidence; an intercept below 0, too much predicted malignancy."
        )
    pictures = [
        render(
            "reliability",
            plots.draw_reliability(evaluation.bins, None if calibrated is None else reliability(calibrated)),
            "Below the diagonal the network is overconfident, above it underconfident; larger points are more images.",
        ),
        render(
            "abstention",
            plots.draw_risk_coverage(evaluation.risk_coverage),
            "Accuracy when the least confident images are left to a human; it should rise to the left.",
        ),
    ]
    table = Table(pd.DataFrame(rows, columns=columns))
    return Section("Calibration", sentences, [table], pictures, is_brief=True)


def _recalibrated(predictions: Predictions, runs: Sequence[SavedRun]) -> Predictions | None:
    """Predictions after slope and intercept; None where no temperature applies either, or a network has none."""
    lines = [run.metadata.get("recalibration") for run in runs]
    if predictions.temperature is None or len(predictions.classes) != 2 or not lines or None in lines:
        return None
    network = np.zeros(len(predictions.targets), int) if predictions.network is None else predictions.network
    slope, intercept = np.array(lines)[network].T
    return recalibrate(predictions, slope, intercept)
