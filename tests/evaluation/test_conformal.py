import numpy as np
import pandas as pd
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from hemai.evaluation.conformal import conformal_sets, patient_probabilities, summarise_sets
from hemai.evaluation.predictions import Predictions


def patients(rng, count, sharpness=1.5):
    """Patients, malignant as often as a probability says that spreads with the sharpness, and that is somewhat off."""
    logit = rng.normal(0, sharpness, count)
    probability = 1 / (1 + np.exp(-logit))
    malignant = rng.random(count) < 1 / (1 + np.exp(-0.5 * logit))
    return pd.DataFrame({"group": np.arange(count).astype(str), "malignant": malignant, "probability": probability})


class Known(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its probabilities of malignancy."""

    def fit(self, features, labels):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, features):
        return np.column_stack([1 - features[:, 0], features[:, 0]])

    def predict(self, features):
        return self.predict_proba(features).argmax(axis=1)


@pytest.mark.parametrize("count", [20, 37, 100])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_sets_are_those_of_mapie(count, coverage):
    rng = np.random.default_rng(count)
    calibration, tested = patients(rng, count), patients(rng, 200)
    features, labels = (calibration[["probability"]].to_numpy(), calibration["malignant"].astype(int).to_numpy())
    known = Known().fit(features, labels)
    reference = SplitConformalClassifier(known, confidence_level=coverage, conformity_score="lac", prefit=True)
    _, expected = reference.conformalize(features, labels).predict_set(tested[["probability"]].to_numpy())
    sets = conformal_sets(calibration, tested, coverage)
    assert sets[["may_be_benign", "may_be_malignant"]].to_numpy().tolist() == expected[:, :, 0].tolist()


def test_the_limit_is_the_score_of_the_right_rank_by_hand():
    # 20 benign patients with scores 0.01 ... 0.20; the 19th of 20, as ceil(21 * 0.9) = 19, is 0.19.
    scores = np.arange(1, 21) / 100
    calibration = pd.DataFrame({"group": scores, "malignant": False, "probability": scores})
    tested = pd.DataFrame(
        {"group": "abcd", "malignant": [False, True, True, False], "probability": [0.18, 0.5, 0.9, 0.9]}
    )
    sets = conformal_sets(calibration, tested.assign(group=list("abcd")))
    assert sets["may_be_benign"].tolist() == [True, False, False, False]
    assert sets["may_be_malignant"].tolist() == [False, False, True, True]
    assert sets["covered"].tolist() == [True, False, True, False]
    table = summarise_sets(sets).set_index("patients")
    counts = table.map(lambda cell: (cell.correct, cell.total) if hasattr(cell, "total") else cell)
    assert counts.loc["all"].tolist() == [(2, 4), (3, 4), 0, 1]
    assert counts.loc["malignant"].tolist() == [(1, 2), (1, 2), 0, 1]
    assert counts.loc["benign"].tolist() == [(1, 2), (2, 2), 0, 0]


@pytest.mark.parametrize("count", [20, 50])
def test_the_true_class_of_new_patients_is_covered_as_often_as_the_theory_says(count):
    rng = np.random.default_rng(0)
    covered = [conformal_sets(patients(rng, count), patients(rng, 50))["covered"].mean() for _ in range(300)]
    # Exchangeable scores without ties: the rank divided by n + 1.
    assert np.mean(covered) == pytest.approx(np.ceil((count + 1) * 0.9) / (count + 1), abs=0.012)


def test_a_patient_has_the_mean_probability_of_its_images_and_mixed_ones_are_left_out():
    table = pd.DataFrame({"path": list("abcde"), "group": ["P1", "P1", "P2", "P3", "P3"]})
    table["label"] = ["all", "all", "hem", "all", "hem"]
    score = np.array([0.9, 0.5, 0.2, 0.6, 0.6])
    predictions = Predictions(table, np.log(np.stack([score, 1 - score], axis=1)), ("all", "hem"), ("all",))
    found = patient_probabilities(predictions).set_index("group")
    assert found["probability"].to_dict() == pytest.approx({"P1": 0.7, "P2": 0.2})
    assert found["malignant"].to_dict() == {"P1": True, "P2": False}
