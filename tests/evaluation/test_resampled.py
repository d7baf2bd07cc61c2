from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hemai.evaluation.paired import align
from hemai.evaluation.predictions import Predictions, pool_predictions
from hemai.evaluation.resampled import resampled_differences


def crossvalidated(right, repeats=2, folds=2, size=10):
    """Cross-validation in which network (repeat, fold) has `right[repeat][fold]` of its `size` images right."""
    parts = []
    for repeat in range(repeats):
        for fold in range(folds):
            correct = np.arange(size) < right[repeat][fold]
            label = np.where(np.arange(size) % 2, "all", "hem")
            table = pd.DataFrame(
                {"path": [f"{fold}/{i}" for i in range(size)], "label": label, "group": [f"{fold}{x}" for x in label]}
            )
            score = np.where(correct == (label == "all"), 1.0, -1.0)
            parts.append(Predictions(table, np.stack([score, -score], axis=1), ("all", "hem"), ("all",)))
    return align(pool_predictions(parts))


def test_the_limits_are_those_of_nadeau_and_bengio_by_hand():
    one, other = crossvalidated([[5, 6], [7, 5]]), crossvalidated([[6, 8], [7, 8]])
    found = resampled_differences(one, other)["accuracy"]
    differences = np.array([0.1, 0.2, 0.0, 0.3])
    error = np.sqrt((1 / 4 + 1) * differences.var(ddof=1))  # two folds: as many tested as trained on
    half = stats.t(3).ppf(0.975) * error
    assert (found.value, found.low, found.high) == pytest.approx((0.15, 0.15 - half, 0.15 + half))
    assert found.p == pytest.approx(2 * stats.t(3).sf(0.15 / error))
    assert found.networks == 4


def test_one_network_and_other_folds_have_none():
    one = crossvalidated([[5, 6], [7, 5]])
    assert resampled_differences(replace(one, network=None), one) == {}
    assert resampled_differences(one, replace(one, network=one.network[::-1].copy())) == {}
    seeds = crossvalidated([[5], [7]], folds=1)  # two networks on one test set
    assert resampled_differences(seeds, seeds) == {}
