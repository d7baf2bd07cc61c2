import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.predictions import Predictions
from hemai.reporting.text import (
    abstention_sentences,
    format_interval,
    format_number,
    leakage_sentence,
    metric_label,
    split_sentence,
    threshold_sentence,
)


@pytest.mark.parametrize("shared", [None, ["P1"], [f"P{i}" for i in range(1200)]])
def test_leakage_is_a_warning_with_its_size_and_its_first_groups(shared):
    told = leakage_sentence(shared, "patient", 1300)
    assert told.startswith("WARNING, leakage")
    if shared is not None:
        assert f" {len(shared):,} of the 1,300 patients evaluated here" in told
        assert "P0" in told and "more" in told if len(shared) > 1 else "(P1)" in told


def test_no_leakage_is_no_warning_and_counts_what_is_evaluated():
    assert leakage_sentence([], "patient", 38) == (
        "Leakage: none of the 38 patients evaluated here is in training or validation."
    )
    assert leakage_sentence([], "block", 1).startswith("Leakage: the block evaluated here is not in training")


def test_a_split_is_described_by_the_parts_that_it_has():
    splits = pd.DataFrame({"group": ["a", "a", "b"], "split": ["train", "train", "val"]})
    assert split_sentence(splits, "patient") == "Split: no patient is in more than one of train, val."
    tested = pd.DataFrame({"group": ["a", "b", "c"], "split": ["train", "val", "test"]})
    assert split_sentence(tested, "block") == "Split: no block is in more than one of train, val, test."


def test_a_split_that_divides_a_patient_is_a_warning():
    splits = pd.DataFrame({"group": ["a", "a", "b"], "split": ["train", "val", "test"]})
    told = split_sentence(splits, "patient")
    assert told.startswith("WARNING, leakage: 1 patient is in more than one of train, val, test (a)")


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


def test_the_abstention_on_test_images_is_told_with_the_accuracy_of_the_others():
    table = pd.DataFrame({"path": list("wxyz"), "label": ["a", "a", "b", "b"], "group": "P1"})
    probability = np.array([0.9, 0.45, 0.1, 0.8])  # of a; x is wrong and unsure, z wrong and sure
    logits = np.log(np.stack([probability, 1 - probability], axis=1))
    predictions = Predictions(table, logits, ("a", "b"), ("a",), temperature=1.0, abstain_below=0.6)
    [sentence] = abstention_sentences(predictions)
    assert "on 1 of 4 images; accuracy of the others: 0.667 (of all: 0.500)" in sentence
    assert abstention_sentences(Predictions(table, logits, ("a", "b"), ("a",))) == []
