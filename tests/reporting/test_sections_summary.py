import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import AREA
from hemai.evaluation.summary import Evaluation
from hemai.reporting.sections_summary import summary_section

# Images called malignant at a threshold of 0.3, of the 10 images of each malignant (M) and benign (B) patient.
FOUND = {"M1": 10, "M2": 10, "M3": 10, "M4": 2, "B1": 0, "B2": 6}


def predictions(threshold=0.3, kind="patient", positive=("all",)):
    groups = np.repeat(list(FOUND), 10)
    labels = ["all" if group.startswith("M") else "hem" for group in groups]
    above = np.concatenate([np.arange(10) < found for found in FOUND.values()])
    probability = np.where(above, 0.4, 0.2)
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(60)], "label": labels, "group": groups})
    logits = np.log(np.stack([probability, 1 - probability], axis=1))
    return Predictions(table, logits, ("all", "hem"), positive, threshold=threshold, group_kind=kind)


def summary(predictions, shared=(), baselines=None):
    section = summary_section(Evaluation(predictions), [], list(shared), baselines, None)
    return dict(section.tables[0].frame.itertuples(index=False)), section.sentences


def test_of_100_images_and_of_100_patients_as_many_are_found_as_at_the_chosen_threshold():
    told, _ = summary(predictions())
    assert told["per 100 malignant images"].startswith("80 found (")  # 32 of 40
    assert told["per 100 benign images"].startswith("70 recognised as benign (")  # 14 of 20
    # Exact binomial interval of 3 of 4 in R: binom.test(3, 4) gives 0.1941204 to 0.9936905.
    assert told["per 100 malignant patients"].startswith("75 found (19 to 99); 3 of 4 here")
    assert told["per 100 benign patients"].startswith("50 recognised as benign (1 to 99); 1 of 2 here")
    assert told["tested on"] == "60 images of 6 patients (all: 4, hem: 2)"
    assert "0.300" in told["threshold"]


def test_without_a_chosen_threshold_a_probability_of_a_half_decides():
    told, _ = summary(predictions(threshold=None))
    assert told["per 100 malignant images"].startswith("0 found (")
    assert "0.5" in told["threshold"] and "no threshold was chosen" in told["threshold"]


def test_blocks_are_not_counted_as_patients():
    told, _ = summary(predictions(kind="block"))
    assert "not known" in told["per 100 patients"] and "per 100 malignant patients" not in told


def test_without_malignant_classes_correct_images_are_counted():
    told, _ = summary(predictions(positive=()))
    assert told["per 100 images"].startswith("33 classified correctly (")  # hem is predicted for all 60
    assert "threshold" not in told and "all, hem" in told["task"]


@pytest.mark.parametrize(
    "low, high, verdict", [(0.01, 0.2, "more than"), (-0.2, -0.01, "less than"), (-0.1, 0.1, "not shown to differ")]
)
def test_the_gain_over_cell_area_is_told_with_its_limits(low, high, verdict):
    gain = {"feature": AREA, "auroc": 0.7, "auroc/gain": 0.05, "auroc/gain/low": low, "auroc/gain/high": high}
    told = summary(predictions(), baselines=pd.DataFrame([gain]))[0]["more than cell area"]
    assert f"+0.0500 ({low:+.3f} to {high:+.3f})" in told and verdict in told


def test_leakage_is_said_above_the_results():
    assert summary(predictions())[1] == []
    assert summary(predictions(), shared=["M1"])[1][0].startswith("WARNING, leakage")
