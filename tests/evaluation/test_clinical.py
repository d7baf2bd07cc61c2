import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.clinical import net_benefit, predictive_values
from hemai.evaluation.predictions import Predictions


def predictions(probabilities, malignant, groups, threshold=None):
    table = pd.DataFrame({"path": "", "label": np.where(malignant, "all", "hem"), "group": groups})
    logit = np.log(np.array(probabilities) / (1 - np.array(probabilities)))
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",), threshold)


def of_rates(found, cleared, groups, threshold=None):
    """Ten malignant images, of which so many are found, and ten benign ones, of which so many are cleared."""
    probabilities = [0.8] * found + [0.3] * (10 - found) + [0.3] * cleared + [0.8] * (10 - cleared)
    return predictions(probabilities, [True] * 10 + [False] * 10, groups, threshold)


def test_predictive_values_follow_from_recall_specificity_and_prevalence_by_hand():
    table = predictive_values(of_rates(8, 9, [f"P{i}" for i in range(20)])).set_index("quantity")["value"]
    assert table["PPV at 0.05"] == pytest.approx(0.04 / (0.04 + 0.095))
    assert table["NPV at 0.05"] == pytest.approx(0.855 / (0.855 + 0.01))
    assert table["PPV at 0.5"] == pytest.approx(8 / 9)
    assert table["positive likelihood ratio"] == pytest.approx(8)
    assert table["negative likelihood ratio"] == pytest.approx(2 / 9)


def test_their_limits_are_those_of_independent_beta_posteriors_where_each_image_is_a_patient():
    table = predictive_values(of_rates(8, 9, [f"P{i}" for i in range(20)])).set_index("quantity")
    rng = np.random.default_rng(0)
    recall, specificity = rng.beta(9, 3, 200_000), rng.beta(10, 2, 200_000)
    expected = np.quantile(0.2 * recall / (0.2 * recall + 0.8 * (1 - specificity)), [0.025, 0.975])
    assert table.loc["PPV at 0.2", ["low", "high"]].to_numpy(float) == pytest.approx(expected, abs=0.01)


def test_they_are_those_at_the_threshold():
    table = predictive_values(of_rates(8, 9, [f"P{i}" for i in range(20)], threshold=0.2)).set_index("quantity")
    assert table.loc["PPV at 0.2", "value"] == pytest.approx(0.2)  # every image is predicted malignant
    assert np.isnan(table.loc["NPV at 0.2", "value"])


def test_with_one_patient_of_a_class_they_have_no_limits():
    table = predictive_values(of_rates(8, 9, [f"P{i}" for i in range(10)] + ["H"] * 10))
    assert not table["value"].isna().any() and table["low"].isna().all()


def test_without_a_false_alarm_the_likelihood_ratio_is_infinite_and_has_a_lower_limit():
    table = predictive_values(of_rates(8, 10, [f"P{i}" for i in range(20)])).set_index("quantity")
    ratio = table.loc["positive likelihood ratio"]
    assert np.isinf(ratio["value"]) and 1 < ratio["low"] < ratio["value"] and np.isinf(ratio["high"])


def test_net_benefit_by_hand():
    # At 0.25 a false alarm costs a third of a find: 3 finds and 1 false alarm among 5 images.
    data = predictions([0.9, 0.8, 0.3, 0.4, 0.1], [True, True, True, False, False], list("abcde"))
    table = net_benefit(data, np.array([0.25, 0.5]))
    assert table["model"].tolist() == pytest.approx([(3 - 1 / 3) / 5, 2 / 5])
    assert table["all"].tolist() == pytest.approx([(3 - 2 / 3) / 5, (3 - 2) / 5])
