from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from hemai.evaluation.intervals import clopper_pearson, group_intervals, image_intervals
from hemai.evaluation.metrics import compute_metrics
from hemai.evaluation.predictions import Predictions

CLASSES, POSITIVE = ("all", "hem"), ("all",)


def drawn(groups=8, images=15, seed=0, shift=0.5):
    """Groups of one class each, with a shift of their own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), images)
    targets = group % 2
    logit = np.where(targets == 0, 0.6, -0.6) + rng.normal(0, shift, groups)[group] + rng.normal(0, 1, len(group))
    table = pd.DataFrame({"path": "", "label": np.array(CLASSES)[targets], "group": [f"P{g}" for g in group]})
    return Predictions(table, np.stack([logit, np.zeros_like(logit)], axis=1), CLASSES, POSITIVE)


def perfect(predictions):
    right = np.where(predictions.targets == 0, 9.0, -9.0)
    return Predictions(predictions.table, np.stack([right, 0 * right], axis=1), CLASSES, POSITIVE)


def figures_of(predictions, kept):
    return compute_metrics(
        torch.tensor(predictions.logits[kept]), torch.tensor(predictions.targets[kept]), CLASSES, POSITIVE
    )


def test_the_interval_over_groups_is_a_jackknife_done_one_by_one():
    predictions = drawn()
    names = predictions.table["group"]
    found = group_intervals(predictions)
    whole = figures_of(predictions, np.full(len(names), True))
    for figure, letters in (("auroc", "01234567"), ("recall", "0246"), ("specificity", "1357"), ("loss", "01234567")):
        left_out = [figures_of(predictions, (names != f"P{letter}").to_numpy())[figure] for letter in letters]
        to = np.log if figure == "loss" else lambda share: np.log(share / (1 - share))
        back = np.exp if figure == "loss" else lambda logit: 1 / (1 + np.exp(-logit))
        n = len(letters)
        error = np.sqrt((n - 1) ** 2 / n * np.var(left_out, ddof=1))
        slope = (to(whole[figure] + 1e-6) - to(whole[figure] - 1e-6)) / 2e-6
        half = stats.t(n - 1).ppf(0.975) * error * slope
        assert found[figure].groups == n
        assert found[figure].value == pytest.approx(whole[figure], abs=1e-6)
        limits = [back(to(whole[figure]) - half), back(to(whole[figure]) + half)]
        assert [found[figure].low, found[figure].high] == pytest.approx(limits, abs=1e-4)


def test_it_covers_the_truth_of_new_groups_and_the_one_over_images_does_not():
    # Accuracy of a logit with mean 0.6 and variance 1 + 0.5 squared.
    truth = stats.norm.cdf(0.6 / np.sqrt(1.25))
    held = {"groups": 0, "images": 0}
    for seed in range(200):
        predictions = drawn(groups=30, images=30, seed=seed)
        intervals = {"groups": group_intervals(predictions), "images": image_intervals(predictions)}
        for kind, found in intervals.items():
            held[kind] += found["accuracy"].low <= truth <= found["accuracy"].high
    assert 0.90 <= held["groups"] / 200 <= 0.98  # 0.95, and twice the error of 200 draws
    assert held["images"] / 200 < 0.80


def test_a_figure_near_1_that_one_group_spoils_keeps_a_narrow_interval():
    predictions = drawn(groups=40, images=10)
    logit = np.where(predictions.targets == 0, 5.0, -5.0)
    logit[0] = -9  # one cell of one patient
    nearly = Predictions(predictions.table, np.stack([logit, 0 * logit], axis=1), CLASSES, POSITIVE)
    for name in ("auroc", "accuracy", "recall"):
        found = group_intervals(nearly)[name]
        assert 0.95 < found.low < found.value < found.high < 1


def test_where_all_are_right_the_limits_are_exact_binomial_ones_of_as_many_groups():
    predictions = drawn()
    found = group_intervals(perfect(predictions))
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((0.025 ** (1 / 8), 1))
    assert found["recall"].low == pytest.approx(0.025 ** (1 / 4))
    many = group_intervals(perfect(drawn(groups=1200, images=1)))  # left out in blocks, but still as many
    assert many["accuracy"].low == pytest.approx(0.025 ** (1 / 1200))


def test_a_network_that_calls_all_alike_has_no_interval_of_width_0():
    predictions = drawn()
    alike = Predictions(predictions.table, np.tile([1.0, 0.0], (len(predictions.logits), 1)), CLASSES, POSITIVE)
    found = group_intervals(alike)
    assert found["balanced_accuracy"].value == 0.5
    assert np.isnan(found["balanced_accuracy"].low)
    assert found["recall"].low == pytest.approx(0.025 ** (1 / 4))


def test_very_many_groups_are_left_out_in_blocks():
    predictions = drawn(groups=1200, images=2)
    groups = predictions.table["group"]
    few = predictions.table[groups.isin(groups.unique()[:400])].index
    fewer = group_intervals(Predictions(predictions.table.loc[few], predictions.logits[few], CLASSES, POSITIVE))
    found = group_intervals(predictions)
    assert (found["accuracy"].groups, found["recall"].groups) == (1200, 600)
    widths = [ours["accuracy"].high - ours["accuracy"].low for ours in (found, fewer)]
    assert widths[0] / widths[1] == pytest.approx((400 / 1200) ** 0.5, rel=0.1)


def test_one_group_alone_has_no_interval():
    found = group_intervals(drawn(groups=2))
    assert np.isnan([found["recall"].low, found["recall"].high, found["auroc"].low]).all()
    assert not np.isnan(found["recall"].value)


def test_clopper_and_pearson_by_their_beta_distribution():
    low, high = clopper_pearson(17, 20)
    assert (low, high) == pytest.approx((stats.beta(17, 4).ppf(0.025), stats.beta(18, 3).ppf(0.975)), abs=1e-6)


def test_the_interval_over_images_takes_each_for_a_group_and_is_near_the_normal_one():
    predictions = drawn(groups=20, images=100, shift=0)
    found = image_intervals(predictions)
    share = found["accuracy"].value
    half = 1.96 * np.sqrt(share * (1 - share) / 2000)
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((share - half, share + half), abs=0.003)
    assert found["accuracy"].groups == 2000
    rows = predictions.table.assign(group=[f"{row:04}" for row in range(2000)])
    assert group_intervals(replace(predictions, table=rows)) == found


def test_at_a_threshold_of_one_half_the_intervals_are_those_without():
    predictions = drawn()
    found = group_intervals(replace(predictions, threshold=0.5))
    for name in ("recall", "specificity", "precision", "f1"):
        assert found[f"at_threshold/{name}"] == found[name]


def test_balanced_accuracy_has_no_interval_where_a_class_has_one_group():
    predictions = drawn(groups=9)
    only = predictions.table["group"].isin([f"P{group}" for group in (0, 2, 4, 6, 8, 1)]).to_numpy()
    alone = Predictions(predictions.table[only], predictions.logits[only], CLASSES, POSITIVE)
    found = group_intervals(alone)["balanced_accuracy"]
    assert 0 < found.value < 1
    assert np.isnan([found.low, found.high]).all()
