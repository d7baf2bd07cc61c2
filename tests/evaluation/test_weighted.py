from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference

from hemai.evaluation import metrics
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.metric import CLEARED, MISSED, Metric, ratio
from hemai.evaluation.metrics import METRICS, compute_metrics
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import weighted_metrics

LEUKAEMIA = (("all", "hem"), ("all",))
# Probabilities that are equal may differ in the last bit, so that a pair of them is half right or all.
TOLERANCE = {"auprc": 1e-5, "auroc_macro": 1e-4}
SMEARS = (("Benign", "Early", "Pre", "Pro"), ("Early", "Pre", "Pro"))


def drawn(classes, images=300, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(classes), images)
    logits = rng.normal(0, 1, (images, len(classes))) + np.eye(len(classes))[targets]
    return (4 * logits).round() / 4, targets  # some scores are equal, exactly


def predictions(logits, targets, classes, positive, threshold=None):
    table = pd.DataFrame({"label": np.array(classes)[targets]})
    return Predictions(table, logits, classes, positive, threshold)


@pytest.mark.parametrize("name", [*(metric.name for metric in METRICS), "recall/Pre"])
def test_each_metric_equals_its_weighted_twin_at_weights_of_1(name):
    logits, targets = drawn(SMEARS[0])
    twins = weighted_metrics(np.ones((2, len(targets))), predictions(logits, targets, *SMEARS))
    value = compute_metrics(torch.tensor(logits), torch.tensor(targets), *SMEARS)[name]
    assert 0 < value < 2
    assert twins[name] == pytest.approx([value, value], abs=TOLERANCE.get(name, 1e-6))


def test_both_forms_name_the_metrics_in_the_order_of_their_table():
    logits, targets = drawn(SMEARS[0])
    twins = weighted_metrics(np.ones((1, len(targets))), predictions(logits, targets, *SMEARS, threshold=0.4))
    values = compute_metrics(torch.tensor(logits), torch.tensor(targets), *SMEARS)
    at_threshold = ["recall", "specificity", "precision", "npv", "f1", "mcc"]
    assert list(values) == [*(metric.name for metric in METRICS), *(f"recall/{label}" for label in SMEARS[0])]
    assert list(twins) == [*values, *(f"at_threshold/{name}" for name in at_threshold)]


def test_a_new_metric_is_one_row(monkeypatch):
    false_omission = Metric(
        "false_omission_rate",
        lambda images: ((1 - images.called) * images.malignant).sum() / (1 - images.called).sum(),
        lambda sums: ratio(sums.outcomes[MISSED], sums.outcomes[[MISSED, CLEARED]].sum(axis=0)),
        kind="threshold",
        needs=[[MISSED, CLEARED]],
    )
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, false_omission))
    logits, targets = drawn(LEUKAEMIA[0])
    made = predictions(logits, targets, *LEUKAEMIA, threshold=0.3)
    made.table["group"] = np.arange(len(targets)) % 20
    found = group_intervals(made)
    values = compute_metrics(torch.tensor(logits), torch.tensor(targets), *LEUKAEMIA)
    interval = found["false_omission_rate"]
    assert interval.value == pytest.approx(values["false_omission_rate"], abs=1e-6)
    assert 0 < interval.low < interval.value < interval.high < 1
    assert found["at_threshold/false_omission_rate"].value != interval.value
    all_called = compute_metrics(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), *LEUKAEMIA)
    assert np.isnan(all_called["false_omission_rate"])


@pytest.mark.parametrize("classes, positive", [LEUKAEMIA, SMEARS, (("a", "b", "c"), ())])
def test_images_that_count_once_or_not_at_all_give_the_figures_of_training(classes, positive):
    logits, targets = drawn(classes)
    weights = np.random.default_rng(1).integers(0, 2, (5, len(targets)))
    weights[0] = 1
    figures = weighted_metrics(weights, predictions(logits, targets, classes, positive))
    for row, kept in enumerate(weights.astype(bool)):
        expected = compute_metrics(torch.tensor(logits[kept]), torch.tensor(targets[kept]), classes, positive)
        ours = {name: values[row] for name, values in figures.items()}
        for name, value in ours.items():
            assert value == pytest.approx(expected[name], abs=TOLERANCE.get(name, 1e-6), nan_ok=True), name
        assert all(np.isnan(value) for name, value in expected.items() if name not in ours)


@pytest.mark.parametrize("classes, positive", [LEUKAEMIA, SMEARS])
def test_images_that_count_several_times_give_the_figures_of_scikit_learn(classes, positive):
    logits, targets = drawn(classes)
    weights = np.random.default_rng(1).integers(0, 5, (600, len(targets)))  # more rows than are computed at a time
    figures = weighted_metrics(weights, predictions(logits, targets, classes, positive))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    columns = [classes.index(label) for label in positive]
    score, malignant = probabilities[:, columns].sum(axis=1), np.isin(targets, columns)
    for row in (0, 300, 599):
        counted = {"sample_weight": weights[row]}
        expected = {
            "loss": reference.log_loss(targets, probabilities, **counted),
            "accuracy": reference.accuracy_score(targets, predicted, **counted),
            "balanced_accuracy": reference.balanced_accuracy_score(targets, predicted, **counted),
            "f1_weighted": reference.f1_score(targets, predicted, average="weighted", **counted),
            "recall": reference.recall_score(malignant, score >= 0.5, **counted),
            "specificity": reference.recall_score(~malignant, score < 0.5, **counted),
            "precision": reference.precision_score(malignant, score >= 0.5, **counted),
            "f1": reference.f1_score(malignant, score >= 0.5, **counted),
            "auroc": reference.roc_auc_score(malignant, score, **counted),
            "auprc": reference.average_precision_score(malignant, score, **counted),
            "npv": reference.precision_score(~malignant, score < 0.5, **counted),
            "mcc": reference.matthews_corrcoef(malignant, score >= 0.5, **counted),
        }
        if len(classes) > 2:
            each = [reference.roc_auc_score(targets == i, probabilities[:, i], **counted) for i in range(len(classes))]
            expected["auroc_macro"] = np.mean(each)
        assert {name: figures[name][row] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_figures_at_a_threshold_are_those_of_scikit_learn_at_it():
    logits, targets = drawn(("all", "hem"))
    score = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    of_image = np.where(np.arange(len(targets)) < 100, 0.3, 0.7)  # of two networks, each tested on its own images
    for threshold in (0.3, of_image):
        found = weighted_metrics(
            np.ones((1, len(targets))), predictions(logits, targets, ("all", "hem"), ("all",), threshold)
        )
        called, malignant = score >= threshold, targets == 0
        expected = {
            "recall": reference.recall_score(malignant, called),
            "specificity": reference.recall_score(~malignant, ~called),
            "precision": reference.precision_score(malignant, called),
            "f1": reference.f1_score(malignant, called),
        }
        ours = {name: values[0] for name, values in found.items()}
        assert {name: ours[f"at_threshold/{name}"] for name in expected} == pytest.approx(expected)


def test_figures_of_a_class_without_weight_are_not_defined():
    logits, targets = drawn(("all", "hem"))
    figures = weighted_metrics((targets == 0)[None], predictions(logits, targets, ("all", "hem"), ("all",)))
    for name in ("specificity", "auroc", "recall/hem", "recall_macro"):
        assert np.isnan(figures[name][0])
    assert figures["recall"][0] == figures["accuracy"][0] == figures["balanced_accuracy"][0]


def test_the_auroc_of_several_networks_compares_images_of_one_network():
    logits, targets = drawn(LEUKAEMIA[0])
    network = np.arange(len(targets)) % 3
    logits[network == 1, 0] += 3  # another scale
    made = replace(predictions(logits, targets, *LEUKAEMIA), network=network)
    weights = np.random.default_rng(1).integers(0, 4, (2, len(targets)))
    found = weighted_metrics(weights, made)["auroc"]
    score, malignant = logits[:, 0] - logits[:, 1], targets == 0
    for row, of_row in enumerate(weights):
        above = pairs = 0.0
        for number in range(3):
            one, other = (np.flatnonzero((network == number) & (malignant == kind)) for kind in (True, False))
            weight = of_row[one][:, None] * of_row[other]
            better = (score[one][:, None] > score[other]) + (score[one][:, None] == score[other]) / 2
            above, pairs = above + (weight * better).sum(), pairs + weight.sum()
        assert found[row] == pytest.approx(above / pairs)


def test_the_macro_auroc_of_several_networks_compares_images_of_one_network():
    logits, targets = drawn(SMEARS[0])
    other = logits + np.array(
        [3, 0, 0, 0]
    )  # a network that prefers the first class: its probabilities are no common scale
    alone = [
        weighted_metrics(np.ones((1, 300)), predictions(each, targets, *SMEARS))["auroc_macro"]
        for each in (logits, other)
    ]
    both = predictions(np.concatenate([logits, other]), np.tile(targets, 2), *SMEARS)
    pooled = weighted_metrics(np.ones((1, 600)), both)["auroc_macro"]
    each_alone = weighted_metrics(np.ones((1, 600)), replace(both, network=np.repeat([0, 1], 300)))["auroc_macro"]
    assert each_alone == pytest.approx(np.mean(alone))
    assert abs(pooled - each_alone) > 0.01


def test_a_constant_of_each_network_has_an_auroc_of_one_half():
    targets = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    network = np.repeat([0, 1], 4)
    logits = np.stack([np.where(network == 0, 1.0, -1.0), np.zeros(8)], axis=1)  # the first has more malignant images
    table = pd.DataFrame({"path": "", "label": np.array(["all", "hem"])[targets], "group": list("abcdefgh")})
    found = group_intervals(Predictions(table, logits, ("all", "hem"), ("all",), network=network))["auroc"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
