import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.calibration import choose_operating_point, fit_temperature
from hemai.evaluation.predictions import Predictions


def predictions(malignant_probability, labels, positive=("blast",)):
    score = np.array(malignant_probability)
    table = pd.DataFrame({"label": labels})
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
