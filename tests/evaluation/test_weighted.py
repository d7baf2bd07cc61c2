import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import weighted_figures
from hemai.metrics import compute_figures

LEUKAEMIA = (("all", "hem"), ("all",))
SMEARS = (("Benign", "Early", "Pre", "Pro"), ("Early", "Pre", "Pro"))


def drawn(classes, images=300, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(classes), images)
    logits = rng.normal(0, 1, (images, len(classes))) + np.eye(len(classes))[targets]
    return (4 * logits).round() / 4, targets  # some scores are equal, exactly


def predictions(logits, targets, classes, positive, threshold=None):
    table = pd.DataFrame({"label": np.array(classes)[targets]})
    return Predictions(table, logits, classes, positive, threshold)


@pytest.mark.parametrize("classes, positive", [LEUKAEMIA, SMEARS, (("a", "b", "c"), ())])
def test_images_that_count_once_or_not_at_all_give_the_figures_of_training(classes, positive):
    logits, targets = drawn(classes)
    weights = np.random.default_rng(1).integers(0, 2, (5, len(targets)))
    weights[0] = 1
    figures = weighted_figures(weights, predictions(logits, targets, classes, positive))
    for row, kept in enumerate(weights.astype(bool)):
        expected = compute_figures(torch.tensor(logits[kept]), torch.tensor(targets[kept]), classes, positive)
        ours = {name: values[row] for name, values in figures.items()}
        assert ours == pytest.approx({name: expected[name] for name in ours}, abs=1e-6)
        assert all(np.isnan(value) for name, value in expected.items() if name not in ours)


@pytest.mark.parametrize("classes, positive", [LEUKAEMIA, SMEARS])
def test_images_that_count_several_times_give_the_figures_of_scikit_learn(classes, positive):
    logits, targets = drawn(classes)
    weights = np.random.default_rng(1).integers(0, 5, (600, len(targets)))  # more rows than are computed at a time
    figures = weighted_figures(weights, predictions(logits, targets, classes, positive))
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
        }
        assert {name: figures[name][row] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_figures_at_a_threshold_are_those_of_scikit_learn_at_it():
    logits, targets = drawn(("all", "hem"))
    score = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    of_image = np.where(np.arange(len(targets)) < 100, 0.3, 0.7)  # of two networks, each tested on its own images
    for threshold in (0.3, of_image):
        found = weighted_figures(
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
    figures = weighted_figures((targets == 0)[None], predictions(logits, targets, ("all", "hem"), ("all",)))
    for name in ("specificity", "auroc", "recall/hem", "recall_macro"):
        assert np.isnan(figures[name][0])
    assert figures["recall"][0] == figures["accuracy"][0] == figures["balanced_accuracy"][0]
