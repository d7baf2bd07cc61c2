import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hemai.evaluation.cell_area import area_correlations, auroc_given_area
from hemai.evaluation.predictions import Predictions


def predictions_of(score, malignant):
    table = pd.DataFrame({"path": "", "label": np.where(malignant, "all", "hem"), "group": "1"})
    return Predictions(table, np.stack([score, 0 * score], axis=1), ("all", "hem"), ("all",))


@pytest.fixture
def cells():
    """Areas of 300 cells, of which malignant ones tend to be larger."""
    rng = np.random.default_rng(0)
    malignant = rng.random(300) < 0.6
    return np.exp(rng.normal(np.where(malignant, 0.2, -0.2), 0.3)) * 4000, malignant, rng


def test_a_network_that_measures_the_area_ranks_no_pair_of_equal_area(cells):
    area, malignant, _ = cells
    rounded = np.round(area, -3)  # many pairs of exactly the same area, and none within 10 % otherwise below 10,000
    table = auroc_given_area(predictions_of(np.log(rounded), malignant), rounded).set_index("images_of")
    assert roc_auc_score(malignant, area) > 0.75
    assert table.loc["pairs within 10 %", "auroc"] == pytest.approx(0.5)


def test_thirds_and_pairs_are_those_of_brute_force(cells):
    area, malignant, rng = cells
    score = rng.normal(malignant.astype(float), 1)
    table = auroc_given_area(predictions_of(score, malignant), area).set_index("images_of")
    order = np.argsort(area)
    for number, name in enumerate(("smallest third", "middle third", "largest third")):
        part = order[100 * number : 100 * (number + 1)]
        assert table.loc[name, "auroc"] == pytest.approx(roc_auc_score(malignant[part], score[part]))
        assert table.loc[name, ["malignant", "benign"]].sum() == 100
    pairs = [
        score[i] > score[j]
        for i in np.flatnonzero(malignant)
        for j in np.flatnonzero(~malignant)
        if max(area[i], area[j]) <= 1.1 * min(area[i], area[j])
    ]
    assert table.loc["pairs within 10 %", "auroc"] == pytest.approx(np.mean(pairs))


def test_the_correlation_is_within_each_class(cells):
    area, malignant, rng = cells
    alike = area_correlations(predictions_of(3 * np.log(area / 4000), malignant), area)
    assert list(alike.values()) == pytest.approx([1, 1])
    only_class = area_correlations(predictions_of(malignant + 0.01 * rng.normal(size=300), malignant), area)
    assert max(map(abs, only_class.values())) < 0.2


def test_images_without_a_nucleus_are_left_out(cells):
    area, malignant, _ = cells
    score = np.log(area)
    table = auroc_given_area(predictions_of(score, malignant), area)
    holes = np.append(area, [0, np.nan])
    more = predictions_of(np.append(score, [9, -9]), np.append(malignant, [False, True]))
    pd.testing.assert_frame_equal(auroc_given_area(more, holes), table)
    assert area_correlations(more, holes) == pytest.approx(area_correlations(predictions_of(score, malignant), area))
