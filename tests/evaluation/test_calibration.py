import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss

from hemai.evaluation.calibration import calibration_metrics, reliability, risk_coverage
from hemai.evaluation.predictions import Predictions


def predictions_of(malignant, truth):
    """Two classes: probabilities of being malignant, and whether it is so."""
    probability = np.array(malignant)
    table = pd.DataFrame({"path": "", "label": np.where(truth, "all", "hem"), "group": "1"})
    return Predictions(table, np.log(np.stack([probability, 1 - probability], axis=1)), ("all", "hem"), ("all",))


def drawn(images=2000, seed=0):
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.8, 0.8, images).clip(1e-6, 1 - 1e-6)
    return predictions_of(probability, rng.random(images) < probability), probability


def test_figures_by_hand():
    # Confidences 0.9, 0.9, 0.6, 0.6; right, wrong, right, right.
    found = calibration_metrics(predictions_of([0.9, 0.1, 0.6, 0.4], [True, True, True, False]))
    assert found["ece"] == pytest.approx((2 * abs(0.9 - 0.5) + 2 * abs(0.6 - 1)) / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.81 + 0.16 + 0.16) / 4)


def test_the_brier_score_is_that_of_scikit_learn_and_true_probabilities_are_calibrated():
    predictions, probability = drawn()
    found = calibration_metrics(predictions)
    assert found["brier"] == pytest.approx(brier_score_loss(predictions.malignant, probability))
    assert found["ece"] < 0.04
    too_sure = Predictions(predictions.table, 3 * predictions.logits, predictions.classes, predictions.positive)
    assert calibration_metrics(too_sure)["ece"] > 0.08


def test_the_bins_add_up_to_the_error():
    predictions, _ = drawn()
    bins = reliability(predictions)
    assert bins["images"].sum() == 2000
    assert ((bins["low"] <= bins["confidence"]) & (bins["confidence"] <= bins["high"])).all()
    error = (bins["images"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / 2000
    assert error == pytest.approx(calibration_metrics(predictions)["ece"], abs=1e-6)


def test_abstention_answers_for_the_surest_first():
    table = risk_coverage(predictions_of([0.9, 0.1, 0.6, 0.4], [True, False, False, True]))
    by_coverage = table.set_index("coverage")
    assert by_coverage.loc[1.0, ["images", "accuracy"]].tolist() == [4, 0.5]
    assert by_coverage.loc[0.5, ["images", "accuracy", "least_confidence"]].tolist() == pytest.approx([2, 1, 0.9])
    predictions, _ = drawn()
    accuracy = risk_coverage(predictions)["accuracy"]
    assert accuracy.iloc[-1] > accuracy.iloc[0] + 0.1
