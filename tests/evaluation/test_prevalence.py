import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.prevalence import PriorShift


def predictions(probabilities, positive, threshold=None, temperature=None):
    classes = ("hem", "early", "pre")[: probabilities.shape[1]]
    table = pd.DataFrame({"path": [str(i) for i in range(len(probabilities))]})
    return Predictions(table, np.log(probabilities), classes, positive, threshold, temperature)


def test_odds_are_multiplied_by_the_ratio_of_the_prior_odds():
    # Odds of 1 at a prevalence of 1/2 are odds of 1/9 at 1/10: a probability of 0.1. Odds of 9 become 1.
    half = predictions(np.array([[0.5, 0.5], [0.1, 0.9]]), ("early",), threshold=0.9, temperature=2.0)
    adjusted = PriorShift(0.5, 0.1).adjust(half)
    assert adjusted.malignant_probability == pytest.approx([0.1, 0.5])
    assert adjusted.threshold == pytest.approx(0.5)
    assert adjusted.temperature is None
    assert PriorShift(0.1, 0.5).adjust(adjusted).malignant_probability == pytest.approx([0.5, 0.9])


def test_adjusted_probabilities_are_those_of_a_model_told_the_other_prevalence():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 700])
    features = rng.normal(labels[:, None], 1, (1000, 2))
    trained, told = (
        LinearDiscriminantAnalysis(priors=priors).fit(features, labels) for priors in ([0.3, 0.7], [0.95, 0.05])
    )
    adjusted = PriorShift(0.7, 0.05).adjust(predictions(trained.predict_proba(features), ("early",)))
    assert adjusted.probabilities == pytest.approx(told.predict_proba(features))


def test_several_malignant_classes_keep_their_proportions_and_decisions_at_the_threshold_stay():
    rng = np.random.default_rng(0)
    before = predictions(rng.dirichlet([1, 1, 1], 500), ("early", "pre"), threshold=0.8)
    after = PriorShift(0.67, 0.2).adjust(before)
    ratio = [part.probabilities[:, 1] / part.probabilities[:, 2] for part in (before, after)]
    assert ratio[0] == pytest.approx(ratio[1])
    reached = [part.malignant_probability >= part.threshold for part in (before, after)]
    assert (reached[0] == reached[1]).all() and 0 < reached[0].sum() < 500
    assert (after.malignant_probability >= 0.5).sum() < (before.malignant_probability >= 0.5).sum()


def test_each_image_is_adjusted_from_what_its_own_network_has_learned():
    pooled = predictions(np.array([[0.5, 0.5], [0.5, 0.5]]), ("early",), threshold=np.array([0.5, 0.75]))
    adjusted = PriorShift(np.array([0.5, 0.75]), 0.5).adjust(pooled)
    assert adjusted.malignant_probability == pytest.approx([0.5, 0.25])  # odds 1 / 3
    assert adjusted.threshold == pytest.approx([0.5, 0.5])
