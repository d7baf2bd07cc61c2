"""Report section on conformal prediction sets of patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hemai.evaluation.conformal import (
    COVERAGE,
    FEWEST,
    conformal_sets,
    patient_probabilities,
    summarise_sets,
)
from hemai.evaluation.per_patient import Proportion
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table
from hemai.reporting.text import format_interval
from hemai.runs.saved_run import SavedRun

HEADING = "Prediction sets of patients"


def conformal_sections(evaluation: Evaluation, runs: Sequence[SavedRun]) -> list[Section]:
    """Section on prediction sets, or on why there are none; empty list if groups are not patients.

    Also empty where the networks have no temperature: an ensemble, or probabilities that were adjusted, do not give the
    probabilities of the validation images; and where a patient is tested several times.
    """
    predictions = evaluation.predictions
    if not evaluation.are_patients or predictions.temperature is None or predictions.repeats > 1:
        return []
    calibrations = [patient_probabilities(run.predictions("val")) for run in runs if run.has_predictions("val")]
    fewest = min((len(table) for table in calibrations), default=0) if len(calibrations) == len(runs) else 0
    if fewest < FEWEST:
        return [Section(HEADING, [f"None: {fewest} validation patients calibrate them; {FEWEST} or more are needed."])]
    parts = zip(calibrations, _of_networks(predictions), strict=True)
    sets = pd.concat([conformal_sets(table, patient_probabilities(part)) for table, part in parts])
    if sets.empty:
        return []
    counts, level = ", ".join(str(len(table)) for table in calibrations), f"{100 * COVERAGE:.0f} %"
    sentences = [
        f"For each patient the classes that cannot be excluded at {level}: split conformal prediction from the mean "
        f"probability of a patient's images, calibrated on validation patients ({counts}). The true class should be "
        f"among them for {level} of all new patients like these; not of each class, nor in another hospital."
    ]
    rows = [
        (
            row["patients"],
            _share(row["covered"]),
            format_interval(row["covered"].interval.low, row["covered"].interval.high),
            _share(row["single_class"]),
            row["both"],
            row["none"],
        )
        for row in summarise_sets(sets).to_dict("records")
    ]
    columns = ["patients", "true class in the set", "95 % for new patients", "one class", "both", "none"]
    return [Section(HEADING, sentences, [Table(pd.DataFrame(rows, columns=columns))])]


def _share(proportion: Proportion) -> str:
    return f"{proportion.correct} of {proportion.total}"


def _of_networks(predictions: Predictions) -> list[Predictions]:
    """The predictions of each network, in the order of the runs."""
    if predictions.network is None:
        return [predictions]
    masks = [predictions.network == network for network in np.unique(predictions.network)]
    plain = replace(predictions, threshold=None, temperature=None, network=None, abstain_below=None)
    return [replace(plain, table=plain.table[mask], logits=plain.logits[mask]) for mask in masks]
