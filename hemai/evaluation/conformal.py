"""Conformal prediction sets of patients: the classes that cannot be excluded at a stated level."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from hemai.evaluation.per_patient import Proportion, group_table
from hemai.evaluation.predictions import Predictions

COVERAGE = 0.9
FEWEST = 20  # with fewer calibrating patients the coverage of one calibration varies widely


def patient_probabilities(predictions: Predictions) -> pd.DataFrame:
    """Mean probability of malignancy of each patient whose images are all malignant or all benign.

    Returns:
        One row per patient: `group, malignant` (bool), `probability`.
    """
    groups = group_table(predictions)
    whole = groups[groups["malignant"].notna()].rename(columns={"mean_probability": "probability"})
    return whole[["group", "malignant", "probability"]].astype({"malignant": bool}).reset_index(drop=True)


def conformal_sets(calibration: pd.DataFrame, tested: pd.DataFrame, coverage: float = COVERAGE) -> pd.DataFrame:
    """Prediction sets of patients by split conformal prediction, with the patient as the unit.

    Images of one patient are not exchangeable with those of others, patients are: each has one score, 1 less its mean
    probability of a class. The set holds the classes whose score is at most the ceil((n + 1) * coverage)-th smallest
    score of the true classes of n calibrating patients. A new patient's set then holds the true class with a
    probability of at least `coverage`.

    Args:
        calibration: Table of `patient_probabilities` of patients that the network did not train on; enough of them
            that ceil((n + 1) * coverage) <= n.
        tested: Likewise, other patients.
        coverage: Probability with which the set is to hold the true class, above 0 and below 1.

    Returns:
        `tested` with the columns `may_be_malignant, may_be_benign, covered`, bool.

    Sources: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005); Sadinle, Lei & Wasserman, J. Am.
    Stat. Assoc. 114 (2019) 223, for the score; Dunn, Wasserman & Ramdas, J. Am. Stat. Assoc. 118 (2023) 2491, for
    groups as units.
    """
    own = np.where(calibration["malignant"], calibration["probability"], 1 - calibration["probability"])
    limit = np.sort(1 - own)[math.ceil((len(own) + 1) * coverage - 1e-9) - 1]
    sets = tested.assign(
        may_be_malignant=1 - tested["probability"] <= limit, may_be_benign=tested["probability"] <= limit
    )
    return sets.assign(covered=sets["may_be_malignant"].where(sets["malignant"], sets["may_be_benign"]))


def summarise_sets(sets: pd.DataFrame) -> pd.DataFrame:
    """Coverage and size of prediction sets.

    Args:
        sets: Table of `conformal_sets`.

    Returns:
        One row each for all patients, the malignant and the benign ones, if any: `patients` (which), `covered,
        single_class` (`hemai.evaluation.per_patient.Proportion`), `both, none` (numbers of patients).
    """
    rows = []
    for name, part in (("all", sets), ("malignant", sets[sets["malignant"]]), ("benign", sets[~sets["malignant"]])):
        sizes = part["may_be_malignant"].astype(int) + part["may_be_benign"]
        covered, single = (
            Proportion(int(part["covered"].sum()), len(part)),
            Proportion(int((sizes == 1).sum()), len(part)),
        )
        if len(part):
            rows.append((name, covered, single, int((sizes == 2).sum()), int((sizes == 0).sum())))
    return pd.DataFrame(rows, columns=["patients", "covered", "single_class", "both", "none"])
