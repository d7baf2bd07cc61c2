import numpy as np
import pytest

from hemai.reporting.text import format_interval, format_number, leakage_sentence, metric_label, threshold_sentence


@pytest.mark.parametrize("shared", [None, ["P1"], [f"P{i}" for i in range(1200)]])
def test_leakage_is_a_warning_with_its_size_and_its_first_groups(shared):
    told = leakage_sentence(shared, "patient")
    assert told.startswith("WARNING, leakage")
    if shared is not None:
        assert (f" {len(shared):,} " in told and "P0" in told) or "(P1)" in told
        assert "more" in told or len(shared) == 1


def test_no_leakage_is_no_warning():
    assert leakage_sentence([], "block").startswith("Leakage: no block")


@pytest.mark.parametrize(
    "threshold, networks, parts",
    [
        (None, 1, ["none", "youden"]),
        (0.25, 1, ["0.250;", "youden"]),
        (0.25, 3, ["0.250, the mean of 3 networks", "youden"]),
        (np.array([0.2, 0.7, 0.2]), 2, ["0.200, 0.700;", "youden"]),
    ],
)
def test_a_threshold_is_told_with_its_rule(threshold, networks, parts):
    told = threshold_sentence(threshold, [{"threshold_rule": "youden"}] * networks)
    assert all(part in told for part in parts)
    assert told.count("youden") == 1  # the same rule of all


def test_a_threshold_is_told_with_what_it_reached_on_validation():
    reached = {"threshold_sensitivity": 0.9615, "threshold_images": 1312, "threshold_groups": 4, "group_kind": "block"}
    told = threshold_sentence(0.2, [{"threshold_rule": "sensitivity 0.95 on validation"} | reached])
    assert "rule: sensitivity 0.95 on validation; reached: 0.962 of 1,312 malignant images of 4 blocks;" in told


def test_a_run_from_before_there_were_rules_is_told():
    assert "an older run" in threshold_sentence(0.5, [{}])


def test_what_is_not_defined_is_said_in_words():
    assert format_number(float("nan")) == format_interval(float("nan"), 1.0) == "not defined"
    assert (format_number(0.5), format_number(0.5, "+"), format_interval(0.1, 0.9)) == (
        "0.5000",
        "+0.5000",
        "0.100 to 0.900",
    )
    assert (metric_label("at_threshold/recall"), metric_label("recall/hem")) == ("recall at t", "recall/hem")
