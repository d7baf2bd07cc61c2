from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.per_patient import clustering, group_metrics, group_table, patient_auroc
from hemai.evaluation.predictions import Predictions


def predictions_of(rows, **point):
    """Predictions of rows (group, label, probability of malignancy)."""
    table = pd.DataFrame(rows, columns=["group", "label", "probability"]).assign(path="")
    logit = np.log(table["probability"] / (1 - table["probability"])).to_numpy()
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",), **point)


def drawn(patients=30, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        label, shift = ("all", "hem")[patient % 2], rng.normal((0.7, -0.7)[patient % 2], 0.7)
        rows += [(f"P{patient}", label, 1 / (1 + np.exp(-rng.normal(shift, 1)))) for _ in range(rng.integers(3, 40))]
    return predictions_of(rows)


def test_votes_at_the_threshold_by_hand():
    rows = [*[("A", "all", p) for p in (0.2, 0.3, 0.45)], *[("B", "hem", p) for p in (0.1, 0.1, 0.55)]]
    groups = group_table(predictions_of(rows, threshold=0.25)).set_index("group")
    assert groups["called_malignant_at_threshold"].to_dict() == pytest.approx({"A": 2 / 3, "B": 1 / 3})
    assert groups["majority"].tolist() == [False, False]
    assert groups["majority_at_threshold"].to_dict() == {"A": True, "B": False}
    assert groups["mean_vote_at_threshold"].to_dict() == {"A": True, "B": True}  # means 0.317 and 0.25
    at_threshold = group_metrics(groups.reset_index(), "majority_at_threshold")
    assert (at_threshold["accuracy"].correct, at_threshold["accuracy"].total) == (2, 2)


def test_each_image_has_the_threshold_of_its_own_network():
    rows = [*[("A", "all", p) for p in (0.2, 0.3)], *[("B", "hem", p) for p in (0.6, 0.7)]]
    groups = group_table(predictions_of(rows, threshold=np.array([0.1, 0.1, 0.8, 0.8])))
    assert groups["majority_at_threshold_right"].tolist() == [True, True]
    assert groups["mean_vote_at_threshold_right"].tolist() == [True, True]
    assert groups["majority_right"].tolist() == [False, False]


def test_the_auroc_of_patients_is_that_of_their_mean_probabilities():
    predictions = drawn()
    means = predictions.table.groupby(["group", "label"])["probability"].mean().reset_index()
    found = patient_auroc(group_table(predictions))
    assert found.value == pytest.approx(roc_auc_score(means["label"] == "all", means["probability"]))
    assert found.low < found.value < found.high and found.groups == 30


def test_metrics_in_which_each_patient_counts_once_are_those_of_scikit_learn_with_weights():
    predictions = drawn()
    table = predictions.table
    weights = 1 / table.groupby("group")["group"].transform("size")
    malignant, score = predictions.malignant, table["probability"].to_numpy()
    found = group_intervals(predictions, by_image=False)
    expected = {
        "accuracy": accuracy_score(malignant, score >= 0.5, sample_weight=weights),
        "recall": recall_score(malignant, score >= 0.5, sample_weight=weights),
        "auroc": roc_auc_score(malignant, score, sample_weight=weights),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value)
        assert found[name].low < value < found[name].high


def test_the_clustering_of_images_by_hand():
    correct = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]
    rows = [(f"P{p}", "all", 0.9 if right else 0.1) for p, of_patient in enumerate(correct) for right in of_patient]
    row = clustering(predictions_of(rows)).iloc[0]
    # Mean squares: between 2/3, within 1/6; so (2/3 - 1/6) / (2/3 + 3/6) = 3/7.
    assert (row["groups"], row["images"]) == (4, 16)
    assert row["correlation"] == pytest.approx(3 / 7)
    assert row["design_effect"] == pytest.approx(1 + 3 * 3 / 7)
    assert row["effective_images"] == pytest.approx(7)


def test_clustering_is_not_defined_with_one_group_or_without_errors():
    one = clustering(predictions_of([("A", "all", 0.9), ("A", "all", 0.1)]))
    perfect = clustering(predictions_of([("A", "all", 0.9), ("A", "all", 0.8), ("B", "hem", 0.1), ("B", "hem", 0.2)]))
    for table in (one, perfect):
        assert table["correlation"].isna().all()


def test_images_that_are_their_own_groups_are_not_clustered():
    predictions = drawn(4)
    alone = replace(predictions, table=predictions.table.assign(group=np.arange(len(predictions.table))))
    assert clustering(alone)["correlation"].isna().all()
