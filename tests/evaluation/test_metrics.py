import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from hemai.evaluation.metrics import compute_metrics, confusion_matrix

LEUKAEMIA = (("all", "hem"), ("all",))
SMEARS = (("Benign", "Early", "Pre", "Pro"), ("Early", "Pre", "Pro"))


def drawn(classes, images=400, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(classes), images)
    logits = rng.normal(0, 1, (images, len(classes))) + 1.2 * np.eye(len(classes))[targets]
    return torch.tensor(logits), torch.tensor(targets)


@pytest.mark.parametrize(("classes", "positive"), [LEUKAEMIA, SMEARS])
def test_figures_equal_those_of_scikit_learn(classes, positive):
    logits, targets = drawn(classes)
    figures = compute_metrics(logits, targets, classes, positive)

    probabilities = logits.softmax(dim=1).numpy()
    predicted, true = probabilities.argmax(axis=1), targets.numpy()
    columns = [classes.index(label) for label in positive]
    score, malignant = probabilities[:, columns].sum(axis=1), np.isin(true, columns)
    called = score >= 0.5
    expected = {
        "loss": reference.log_loss(true, probabilities),
        "accuracy": reference.accuracy_score(true, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(true, predicted),
        "recall_macro": reference.recall_score(true, predicted, average="macro"),
        "f1_weighted": reference.f1_score(true, predicted, average="weighted"),
        "recall": reference.recall_score(malignant, called),
        "specificity": reference.recall_score(~malignant, ~called),
        "precision": reference.precision_score(malignant, called),
        "f1": reference.f1_score(malignant, called),
        "auroc": reference.roc_auc_score(malignant, score),
        "auprc": reference.average_precision_score(malignant, score),
        "npv": reference.precision_score(~malignant, ~called),
        "mcc": reference.matthews_corrcoef(malignant, called),
    }
    if len(classes) > 2:
        expected["auroc_macro"] = reference.roc_auc_score(true, probabilities, multi_class="ovr", average="macro")
    recalls = reference.recall_score(true, predicted, average=None)
    expected |= {f"recall/{label}": value for label, value in zip(classes, recalls, strict=True)}
    assert figures == pytest.approx(expected, abs=1e-6)


def test_an_image_is_malignant_when_its_malignant_classes_sum_to_half():
    # 0.45 benign, 0.30 + 0.15 + 0.10 malignant: the likeliest class is benign, and yet it is malignant.
    logits = torch.tensor([[0.45, 0.30, 0.15, 0.10]]).log()
    figures = compute_metrics(logits, torch.tensor([1]), *SMEARS)
    assert figures["accuracy"] == 0
    assert figures["recall"] == 1


def test_a_probability_of_exactly_half_is_called_malignant():
    assert compute_metrics(torch.zeros(1, 2), torch.tensor([0]), *LEUKAEMIA)["recall"] == 1


def test_mcc_is_zero_where_all_images_are_predicted_alike():
    values = compute_metrics(torch.tensor([[1.0, 0.0]] * 9), torch.tensor([0] * 5 + [1] * 4), *LEUKAEMIA)
    assert (values["mcc"], values["recall"], values["specificity"]) == (0, 1, 0)
    assert np.isnan(values["npv"])


def test_what_is_not_defined_is_nan_and_never_zero():
    logits = torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    figures = compute_metrics(logits, torch.tensor([1, 1]), *LEUKAEMIA)  # no malignant image
    for name in ("recall", "precision", "f1", "auroc", "recall/all", "recall_macro"):
        assert math.isnan(figures[name]), name
    assert figures["specificity"] == figures["accuracy"] == figures["balanced_accuracy"] == 1


def test_the_macro_auroc_is_not_defined_where_a_class_is_missing():
    logits, targets = drawn(SMEARS[0])
    kept = targets < 3
    values = compute_metrics(logits[kept], targets[kept], *SMEARS)
    assert math.isnan(values["auroc_macro"])
    assert 0 < values["auroc"] < 1


def test_without_positive_classes_those_of_the_classes_stand():
    logits, targets = drawn(SMEARS[0])
    figures = compute_metrics(logits, targets, SMEARS[0], ())
    assert math.isnan(figures["recall"])
    assert math.isnan(figures["specificity"])
    assert 0 < figures["recall_macro"] < 1
    assert 0 < figures["auroc_macro"] < 1


def test_the_confusion_matrix_has_true_classes_in_rows():
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert confusion_matrix(logits, torch.tensor([0, 1, 1]), 2).tolist() == [[1, 0], [1, 1]]
