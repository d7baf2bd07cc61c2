from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from hemai.evaluation.calibration import (
    calibration_line,
    calibration_metrics,
    fit_slope_and_intercept,
    recalibrate,
    reliability,
    risk_coverage,
)
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


def test_more_than_two_classes_have_a_brier_score_of_their_own():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    table = pd.DataFrame({"path": "", "label": ["hem", "pre"], "group": "1"})
    found = calibration_metrics(Predictions(table, np.log(probabilities), ("hem", "pre", "pro"), ("pre", "pro")))
    # Squares of 0.5, 0.3, 0.2, and of 0.1, 0.9, 0.8; malignancy is 0.5 of a benign, 0.9 of a malignant image.
    assert found["brier_classes"] == pytest.approx((0.38 + 1.46) / 2)
    assert found["brier"] == pytest.approx((0.25 + 0.01) / 2)
    assert "brier_classes" not in calibration_metrics(predictions_of([0.9], [True]))


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


def overconfident(groups=60, images=25, seed=0):
    """Malignancy with the probability of half the logit, less 0.4, in groups with a shift of their own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), images)
    logit = rng.normal(0, 2, len(group)) + rng.normal(0, 1, groups)[group]
    truth = 0.5 * logit - 0.4 + rng.normal(0, 0.5, groups)[group]
    malignant = rng.random(len(group)) < 1 / (1 + np.exp(-truth))
    table = pd.DataFrame({"path": "", "label": np.where(malignant, "all", "hem"), "group": group.astype(str)})
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",))


def test_the_calibration_slope_is_that_of_a_logistic_regression():
    predictions = overconfident()
    line = calibration_line(predictions)
    logit = predictions.logits[:, :1]
    reference = LogisticRegression(C=1e9, tol=1e-9).fit(logit, predictions.malignant)
    assert line["calibration_slope"] == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert line["calibration_slope/low"] < 0.5 < line["calibration_slope/high"] < 1
    # At the intercept, as many malignant images are expected as there are.
    expected = 1 / (1 + np.exp(-logit[:, 0] - line["calibration_intercept"]))
    assert expected.sum() == pytest.approx(predictions.malignant.sum())
    assert line["calibration_intercept/high"] < 0


def test_its_limits_are_those_of_resampled_groups():
    predictions = overconfident()
    rng, slopes = np.random.default_rng(0), []
    rows_of = [np.flatnonzero(predictions.table["group"] == str(group)) for group in range(60)]
    for _ in range(200):
        rows = np.concatenate([rows_of[group] for group in rng.integers(0, 60, 60)])
        resampled = Predictions(
            predictions.table.iloc[rows], predictions.logits[rows], predictions.classes, predictions.positive
        )
        slopes.append(calibration_line(resampled)["calibration_slope"])
    line = calibration_line(predictions)
    width = line["calibration_slope/high"] - line["calibration_slope/low"]
    assert width == pytest.approx(2 * 2.0 * np.std(slopes), rel=0.15)


def test_a_calibration_line_of_separated_classes_has_no_slope():
    predictions = predictions_of([0.9, 0.8, 0.3, 0.2], [True, True, False, False])
    groups = predictions.table.assign(group=list("abcd"))
    separated = Predictions(groups, predictions.logits, predictions.classes, predictions.positive)
    line = calibration_line(separated)
    assert np.isnan(line["calibration_slope"]) and not np.isnan(line["calibration_intercept"])


@pytest.mark.parametrize("probabilities", [[0.5] * 4, [0.3] * 4, [0.1, 0.2, 0.8, 0.9], [0.9, 0.5, 0.5, 0.1]])
def test_a_slope_that_is_not_identified_is_not_defined(probabilities):
    predictions = predictions_of(probabilities, [True, True, False, False])
    alone = replace(predictions, table=predictions.table.assign(group=list("abcd")))
    assert np.isnan(calibration_line(alone)["calibration_slope"])


def test_probabilities_of_0_and_1_have_no_calibration_intercept():
    predictions = predictions_of([0.5] * 20, [True, False] * 10)
    sign = np.where(predictions.malignant ^ (np.arange(20) < 4), 400.0, -400.0)
    hard = replace(predictions, logits=np.stack([sign, -sign], axis=1), table=predictions.table.assign(group=range(20)))
    line = calibration_line(hard)
    assert np.isnan([line["calibration_intercept"], line["calibration_intercept/low"]]).all()


def test_slope_and_intercept_take_back_what_distorted_the_probabilities():
    predictions, probability = drawn(20_000)
    distorted = predictions_of(
        expit((logit(probability) - 1) / 0.5), predictions.malignant
    )  # score = (logit - 1) / 0.5
    slope, intercept = fit_slope_and_intercept(distorted)
    assert (slope, intercept) == pytest.approx((0.5, 1), abs=0.05)
    restored = recalibrate(distorted, slope, intercept)
    assert restored.malignant_probability == pytest.approx(probability, abs=0.02)
    assert (restored.malignant == predictions.malignant).all()


def test_no_other_slope_and_intercept_has_a_lower_cross_entropy():
    predictions = overconfident()
    slope, intercept = fit_slope_and_intercept(predictions)
    score = logit(predictions.malignant_probability)

    def loss(line):
        return log_loss(predictions.malignant, expit(line[0] * score + line[1]))

    best = minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert (slope, intercept) == pytest.approx(tuple(best.x), abs=1e-4)
    assert recalibrate(predictions, slope, intercept).metrics()["loss"] == pytest.approx(best.fun, abs=1e-6)


def test_each_image_takes_the_slope_and_intercept_of_its_network():
    predictions = predictions_of([0.6, 0.6], [True, False])
    changed = recalibrate(predictions, np.array([1, 2]), np.array([0, np.log(2)]))
    assert changed.malignant_probability == pytest.approx([0.6, 4.5 / 5.5])  # odds of 1.5 squared, times 2


@pytest.mark.parametrize("probabilities", [[0.5] * 4, [0.1, 0.2, 0.8, 0.9]])
def test_slope_and_intercept_that_are_not_identified_are_not_fitted(probabilities):
    assert fit_slope_and_intercept(predictions_of(probabilities, [True, True, False, False])) is None
    assert fit_slope_and_intercept(predictions_of(probabilities, [True] * 4)) is None
