from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from hemai.evaluation.calibration import fit_temperature
from hemai.evaluation.operating_point import choose_confidence, choose_operating_point
from hemai.evaluation.predictions import Predictions


def predictions(malignant_probability, labels, positive=("blast",), groups=None):
    score = np.array(malignant_probability)
    table = pd.DataFrame({"label": labels, "group": "P1" if groups is None else groups})
    return Predictions(table, np.log(np.stack([1 - score, score], axis=1)), ("normal", "blast"), positive)


MIXED = predictions(
    [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9],
    ["normal", "blast", "normal", "blast", "normal", "blast", "blast"],
)


@pytest.mark.parametrize(
    "sensitivity, expected",  # half way between the lowest score that is called and the next below it
    [(1, 0.15), (0.95, 0.15), (0.75, 0.35), (0.5, 0.65), (0, 0.8)],
)
def test_the_threshold_is_the_highest_that_finds_the_wanted_share(sensitivity, expected):
    point = choose_operating_point(MIXED, "sensitivity", sensitivity)
    assert point.threshold == pytest.approx(expected)
    assert point.threshold_rule == f"sensitivity {sensitivity:g} on validation"


def test_nineteen_of_twenty_are_enough_for_0_95():
    scores = np.linspace(0.05, 0.95, 20)
    twenty = predictions([*scores, 0.01], ["blast"] * 20 + ["normal"])
    threshold = choose_operating_point(twenty, "sensitivity", 0.95).threshold
    assert (scores >= threshold).sum() == 19


def test_youden_takes_the_largest_sum_of_sensitivity_and_specificity():
    # At 0.65: 2 of 4 found, none wrong: 0.5. At 0.35: 3 of 4, 1 of 3 wrong: 0.42. At 0.15: 4 of 4, 2 of 3 wrong: 0.33.
    assert choose_operating_point(MIXED, "youden", 0.95).threshold == pytest.approx(0.65)
    # At 0.8: 1 of 2 found, none wrong. At 0.35: 2 of 2, 1 of 2 wrong. As good, so the lower one.
    equal = predictions([0.1, 0.5, 0.6, 0.9], ["normal", "blast", "normal", "blast"])
    assert choose_operating_point(equal, "youden", 0.95).threshold == pytest.approx(0.3)


def test_half_needs_no_validation_and_the_others_say_that_they_do():
    assert choose_operating_point(None, "half", 0.95).threshold == 0.5
    only_blasts = predictions([0.5, 0.6], ["blast", "blast"])
    no_positive = predictions([0.5, 0.6], ["blast", "normal"], positive=())
    for validation in (None, only_blasts, no_positive):
        point = choose_operating_point(validation, "sensitivity", 0.95)
        assert point.threshold is None
        assert "not defined" in point.threshold_rule


def test_the_temperature_takes_back_what_made_logits_too_sure():
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 20_000)
    labels = np.where(rng.random(20_000) < 1 / (1 + np.exp(-honest)), "blast", "normal")
    too_sure = Predictions(
        pd.DataFrame({"label": labels}),
        3 * np.stack([np.zeros_like(honest), honest], axis=1),
        ("normal", "blast"),
        ("blast",),
    )
    assert fit_temperature(too_sure) == pytest.approx(3, rel=0.03)


def test_a_point_tells_what_its_threshold_reached_on_how_many_patients():
    groups = ["P1", "P2", "P1", "P3", "P4", "P3", "P3"]  # blasts of P2 and P3, at 0.2, 0.4, 0.7 and 0.9
    mixed = predictions(MIXED.malignant_probability, MIXED.table["label"].to_list(), groups=groups)
    point = choose_operating_point(mixed, "sensitivity", 0.7)
    assert (point.threshold_sensitivity, point.threshold_images, point.threshold_groups) == (0.75, 4, 2)
    half = choose_operating_point(mixed, "half", 0.7)
    assert (half.threshold_sensitivity, half.threshold_images, half.threshold_groups) == (0.5, 4, 2)


def of_patients(patients, images=1):
    """Blasts of some patients, at rising probabilities, and one benign image at 0.5."""
    scores = np.linspace(0.1, 0.9, patients * images)
    groups = [f"P{i % patients}" for i in range(len(scores))]
    return predictions([*scores, 0.5], ["blast"] * len(scores) + ["normal"], groups=[*groups, "H1"])


@pytest.mark.parametrize("sensitivity, confidence", [(0.9, 0.9), (0.8, 0.95), (0.95, 0.5)])
def test_with_one_image_a_patient_the_bound_is_the_exact_one_with_a_flat_prior(sensitivity, confidence):
    validation = of_patients(60)
    point = choose_operating_point(validation, "sensitivity", sensitivity, confidence)
    # Beta(found + 1, missed + 1): the fewest of 60 whose lower quantile reaches the target.
    fewest = next(n for n in range(61) if beta(n + 1, 61 - n).ppf(1 - confidence) >= sensitivity - 1e-9)
    found = validation.malignant_probability[validation.malignant] >= point.threshold
    assert found.sum() == fewest
    assert point.threshold_rule == (
        f"sensitivity {sensitivity:g} on validation and, with confidence {confidence:g}, in new patients"
    )


def test_a_confident_threshold_is_lower_and_lower_still_where_images_of_a_patient_are_alike():
    independent, rng = of_patients(400), np.random.default_rng(0)
    groups = np.append(np.sort(rng.integers(0, 20, 400)), 99).astype(str)  # patients differ in their probabilities
    alike = predictions(independent.malignant_probability, independent.table["label"].to_list(), groups=groups)
    plain, bound, of_alike = (
        choose_operating_point(validation, "sensitivity", 0.7, confidence).threshold
        for validation, confidence in ((alike, None), (independent, 0.9), (alike, 0.9))
    )
    assert of_alike < bound < plain


def test_no_confident_threshold_below_five_patients_or_out_of_reach_and_the_reason_is_told():
    few = choose_operating_point(of_patients(4, images=50), "sensitivity", 0.5, 0.9)
    assert few.threshold is None and few.temperature is not None
    assert "4 malignant validation patients, and a bound for new ones needs 5 or more" in few.threshold_rule
    # 5 of 5 found: the lower 5 % of Beta(6, 1) lie below 0.05 ** (1 / 6) = 0.607.
    five = choose_operating_point(of_patients(5), "sensitivity", 0.7, 0.95)
    assert five.threshold is None
    assert "with all malignant images of 5 validation patients found, the lower bound is 0.607" in five.threshold_rule
    assert choose_operating_point(of_patients(5), "sensitivity", 0.6, 0.95).threshold is not None


def test_a_tenth_of_the_validation_images_is_below_the_confidence_of_abstention():
    rng = np.random.default_rng(0)
    validation = predictions(rng.uniform(0, 1, 200), rng.choice(["normal", "blast"], 200))
    point = choose_operating_point(validation, "half", 0.95)
    calibrated = 1 / (1 + np.exp(-(validation.logits[:, 1] - validation.logits[:, 0]) / point.temperature))
    confidence = np.sort(np.maximum(calibrated, 1 - calibrated))
    assert point.abstain_below == pytest.approx((confidence[19] + confidence[20]) / 2)
    with_point = replace(validation, temperature=point.temperature, abstain_below=point.abstain_below)
    assert with_point.abstained.sum() == 20


def test_there_is_no_abstention_below_ten_images_without_its_rule_or_without_a_temperature():
    assert choose_confidence(MIXED) is None
    assert choose_operating_point(None, "half", 0.95).abstain_below is None
    assert replace(MIXED, temperature=2.0).abstained is None
    assert replace(MIXED, abstain_below=0.6).abstained is None
