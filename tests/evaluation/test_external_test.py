import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from hemai.evaluation.external_test import difference, flatten_drop, performance_drop
from hemai.evaluation.intervals import Interval, group_intervals
from hemai.evaluation.predictions import Predictions


def share(right, trials):
    found = binomtest(right, trials).proportion_ci(0.95, method="wilson")
    return Interval(right / trials, found.low, found.high, trials)


def test_limits_of_a_difference_are_those_of_newcombe():
    # Newcombe, Stat. Med. 17 (1998) 873, table II, method 10: 56/70 - 48/80.
    drop = difference(share(56, 70), share(48, 80))
    assert (drop.value, drop.low, drop.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_figure_that_falls_is_a_positive_drop_and_one_that_is_missing_is_left_out():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 10)
    labels = np.where(group % 2, "hem", "all")

    def drawn(margin, positive):
        logit = np.where(group % 2, -margin, margin) + rng.normal(0, 1, len(group))
        table = pd.DataFrame({"path": "", "label": labels, "group": group.astype(str)})
        return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), positive)

    here = group_intervals(drawn(0.5, ("all",)))
    drop = performance_drop(drawn(2, ("all",)), here).set_index("metric")
    assert drop.loc["auroc", "drop"] > 0.1
    assert drop.loc["auroc", "low"] < drop.loc["auroc", "drop"] < drop.loc["auroc", "high"]
    assert drop.loc["loss", "drop"] < 0
    assert flatten_drop(drop.reset_index())["drop/auroc"] == pytest.approx(drop.loc["auroc", "drop"], abs=1e-7)
    assert "auroc" not in set(performance_drop(drawn(2, ()), here)["metric"])
