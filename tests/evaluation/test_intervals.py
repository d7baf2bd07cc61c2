from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from hemai.evaluation.intervals import group_intervals, image_intervals
from hemai.evaluation.metrics import compute_metrics
from hemai.evaluation.posterior import MIDPOINTS, proportion_posterior
from hemai.evaluation.predictions import Predictions, pool_predictions

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


def by_scipy(correct, totals, exponents=None):
    """Limits of the mean of a beta-binomial model, by brute force with scipy's own distribution."""
    means, correlations = np.linspace(0.0005, 0.9995, 1000), np.linspace(0.0005, 0.9995, 400)
    mean, size = means[:, None], (1 - correlations) / correlations
    exponents = np.ones(len(totals)) if exponents is None else exponents
    logarithm = sum(
        exponent * stats.betabinom(total, mean * size, (1 - mean) * size).logpmf(count)
        for count, total, exponent in zip(correct, totals, exponents, strict=True)
    )
    density = (np.exp(logarithm - logarithm.max()) * stats.beta(1, 3).pdf(correlations)).sum(axis=1)
    return np.interp([0.025, 0.975], density.cumsum() / density.sum(), means)


def predictions_with(correct, totals, class_of=lambda group: 0):
    """Groups with so many correct images."""
    rows = [(g, class_of(g), i < correct[g]) for g in range(len(totals)) for i in range(totals[g])]
    group, target, right = (np.array(column) for column in zip(*rows, strict=True))
    logit = np.where((target == 0) == right, 1.0, -1.0)
    table = pd.DataFrame({"path": "", "label": np.array(CLASSES)[target], "group": [f"P{g}" for g in group]})
    return Predictions(table, np.stack([logit, np.zeros_like(logit)], axis=1), CLASSES, POSITIVE)


def limits(interval):
    return interval.low, interval.high


def test_a_proportion_has_the_limits_of_a_beta_binomial_model():
    correct, totals = [14, 9, 15, 11, 3, 12], [15] * 6
    found = group_intervals(predictions_with(correct, totals))["recall"]
    assert limits(found) == pytest.approx(by_scipy(correct, totals), abs=0.003)
    assert (found.value, found.groups) == (pytest.approx(64 / 90), 6)


def test_larger_groups_count_more_and_together_as_many_as_the_effective_number_of_groups():
    correct, totals = np.array([38, 4, 9, 2]), np.array([40, 10, 10, 5])
    exponents = totals * 65 / (40**2 + 10**2 + 10**2 + 5**2)
    assert exponents.sum() == pytest.approx(65**2 / 1825)
    found = group_intervals(predictions_with(correct, totals))["recall"]
    assert limits(found) == pytest.approx(by_scipy(correct, totals, exponents), abs=0.003)
    expected = by_scipy(correct, totals)
    likely = proportion_posterior(correct, totals, by_image=False)
    assert np.interp([0.025, 0.975], MIDPOINTS, likely) == pytest.approx(expected, abs=0.003)


def test_independent_images_have_the_limits_of_a_beta_distribution():
    found = image_intervals(predictions_with([17], [20]))["recall"]
    assert limits(found) == pytest.approx(stats.beta(18, 4).ppf([0.025, 0.975]), abs=1e-3)


def test_precision_and_f1_follow_from_recall_and_specificity():
    found = image_intervals(predictions_with([32, 51], [40, 60], class_of=lambda group: group))
    rng = np.random.default_rng(0)
    recall, specificity = rng.beta(33, 9, 200_000), rng.beta(52, 10, 200_000)
    true, false = 40 * recall, 60 * (1 - specificity)
    for name, drawn_values in (("precision", true / (true + false)), ("f1", 2 * true / (40 + true + false))):
        assert limits(found[name]) == pytest.approx(np.quantile(drawn_values, [0.025, 0.975]), abs=0.004)
    balanced = (recall + specificity) / 2
    assert limits(found["balanced_accuracy"]) == pytest.approx(np.quantile(balanced, [0.025, 0.975]), abs=0.004)


def test_the_loss_has_a_jackknife_done_one_by_one():
    predictions = drawn(groups=12)
    names = predictions.table["group"]
    found = group_intervals(predictions)["loss"]
    whole = figures_of(predictions, np.full(len(names), True))["loss"]
    left_out = [figures_of(predictions, (names != f"P{number}").to_numpy())["loss"] for number in range(12)]
    error = np.sqrt(11**2 / 12 * np.var(left_out, ddof=1))
    half = stats.t(11).ppf(0.975) * error / whole
    assert limits(found) == pytest.approx((whole * np.exp(-half), whole * np.exp(half)), abs=5e-4)
    assert np.isnan(limits(group_intervals(drawn(groups=8))["loss"])).all()  # four groups of each class


def test_of_many_groups_the_auroc_has_the_interval_of_a_jackknife():
    predictions = drawn(groups=200, images=20)
    names = predictions.table["group"]
    found = group_intervals(predictions)["auroc"]
    whole = roc_auc_score(predictions.malignant, predictions.malignant_probability)
    left_out = []
    for number in range(200):
        kept = (names != f"P{number}").to_numpy()
        left_out.append(roc_auc_score(predictions.malignant[kept], predictions.malignant_probability[kept]))
    error = np.sqrt(199**2 / 200 * np.var(left_out, ddof=1))
    assert found.value == pytest.approx(whole, abs=1e-6)
    assert limits(found) == pytest.approx((whole - 1.97 * error, whole + 1.97 * error), abs=0.3 * error)


def test_ties_of_the_score_count_half_in_the_interval_of_the_auroc():
    alike = predictions_with([9, 9, 0, 0], [9] * 4, class_of=lambda group: group // 2)  # all are predicted malignant
    found = group_intervals(alike)["auroc"]
    assert found.value == 0.5
    assert found.low + found.high == pytest.approx(1, abs=0.01)


def test_it_covers_the_truth_of_new_groups_and_the_one_over_images_does_not():
    # Accuracy of a logit with mean 0.6 and variance 1 + 0.5 squared.
    truth = stats.norm.cdf(0.6 / np.sqrt(1.25))
    held = {"groups": 0, "images": 0}
    for seed in range(100):
        predictions = drawn(groups=30, images=30, seed=seed)
        intervals = {"groups": group_intervals(predictions), "images": image_intervals(predictions)}
        for kind, found in intervals.items():
            held[kind] += found["accuracy"].low <= truth <= found["accuracy"].high
    assert held["groups"] >= 91  # 95, less twice the error of 100 draws
    assert held["images"] < 80


def test_one_wrong_cell_lowers_the_limits_of_a_perfect_network():
    perfect, nearly = (group_intervals(predictions_with([50] * 13 + [last], [50] * 14)) for last in (50, 49))
    for name in ("accuracy", "recall"):
        assert 0.9 < nearly[name].low < perfect[name].low < nearly[name].value < perfect[name].value == 1
        assert nearly[name].high <= perfect[name].high == 1


def test_a_few_patients_that_happen_to_be_alike_have_no_narrower_interval_than_independent_images():
    alike = predictions_with([40, 39, 40, 40], [50] * 4, class_of=lambda group: group % 2)
    over_groups, over_images = group_intervals(alike), image_intervals(alike)
    for name in ("accuracy", "recall", "specificity", "balanced_accuracy", "auroc", "precision"):
        assert over_groups[name].low < over_images[name].low < over_images[name].high < over_groups[name].high


def test_a_perfect_auroc_has_an_upper_limit_of_1_and_a_lower_one_below():
    found = group_intervals(perfect(drawn(groups=14)))["auroc"]
    assert 0.7 < found.low < 0.95 and (found.value, found.high) == (1, 1)


def test_very_many_groups_are_left_out_in_blocks():
    predictions = drawn(groups=1200, images=2)
    groups = predictions.table["group"]
    few = predictions.table[groups.isin(groups.unique()[:400])].index
    fewer = group_intervals(Predictions(predictions.table.loc[few], predictions.logits[few], CLASSES, POSITIVE))
    found = group_intervals(predictions)
    assert (found["accuracy"].groups, found["recall"].groups) == (1200, 600)
    widths = [ours["accuracy"].high - ours["accuracy"].low for ours in (found, fewer)]
    assert widths[0] / widths[1] == pytest.approx((400 / 1200) ** 0.5, rel=0.1)


def test_what_uses_a_class_with_one_group_has_no_interval():
    one_healthy = predictions_with([9, 8, 9, 7], [10] * 4, class_of=lambda group: int(group == 3))
    found = group_intervals(one_healthy)
    undefined = {name for name, interval in found.items() if np.isnan(interval.low)}
    assert {"recall", "recall/all"} == set(found) - undefined
    assert not np.isnan([interval.value for interval in found.values()]).any()


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


def test_the_interval_of_the_auroc_is_the_same_from_either_class():
    predictions = drawn(groups=9, shift=1)
    swapped = predictions.table.assign(label=predictions.table["label"].map({"all": "hem", "hem": "all"}))
    other = Predictions(swapped, predictions.logits[:, ::-1], CLASSES, POSITIVE)
    one, other = (group_intervals(part)["auroc"] for part in (predictions, other))
    assert (other.value, *limits(other)) == pytest.approx((one.value, *limits(one)))


def test_with_more_groups_the_method_does_not_change_for_three_of_a_class():
    low = []
    for healthy in (496, 499):
        correct = [2, 3, 4] + [4] * healthy
        found = group_intervals(predictions_with(correct, [4] * len(correct), class_of=lambda group: int(group > 2)))
        low.append(found["recall"].low)
    assert low[0] == pytest.approx(low[1]) and low[0] < 0.6


def test_many_groups_with_many_images_have_the_narrow_interval_of_their_mean():
    correct = np.array([4370, 4650, 4420, 4590] * 50)
    likely = proportion_posterior(correct, np.full(200, 5000))
    error = np.std(correct / 5000, ddof=1) / np.sqrt(200)
    expected = (correct.mean() / 5000 - 1.97 * error, correct.mean() / 5000 + 1.97 * error)
    assert np.interp([0.025, 0.975], MIDPOINTS, likely) == pytest.approx(expected, abs=0.15 * error)


def test_mcc_near_0_has_limits_on_both_sides_with_few_and_with_many_groups():
    for groups in (20, 600):
        rng = np.random.default_rng(groups)
        random = predictions_with(rng.binomial(4, 0.5, groups).tolist(), [4] * groups, class_of=lambda group: group % 2)
        found = group_intervals(random)["mcc"]
        assert -1 < found.low < 0 < found.high < 1


def test_a_jackknife_at_an_extreme_or_with_a_dominant_group_has_no_interval():
    ranked = drawn(groups=12)
    score = np.where(ranked.targets == 0, -1.0, -2.0)  # a perfect ranking, and all predicted benign
    below = group_intervals(Predictions(ranked.table, np.stack([score, 0 * score], axis=1), CLASSES, POSITIVE))
    assert below["auprc"].value == 1 and np.isnan(limits(below["auprc"])).all()
    sizes = [400] + [3] * 11
    dominant = group_intervals(predictions_with([399] + [3] * 11, sizes, class_of=lambda group: group % 2))
    assert np.isnan(limits(dominant["loss"])).all() and not np.isnan(dominant["loss"].value)


def test_a_perfect_ranking_stays_perfect_where_groups_count_once():
    for seed in range(8):
        sizes = np.random.default_rng(seed).integers(1, 30, 14).tolist()
        found = group_intervals(predictions_with(sizes, sizes, class_of=lambda group: group % 2), by_image=False)
        assert (found["auroc"].value, found["auroc"].high, found["auprc"].value) == (1, 1, 1)
        assert found["auroc"].low < 0.95


def test_repeated_predictions_have_the_mean_of_each_metric_and_count_an_image_once():
    numbered = [f"{i}.png" for i in range(120)]
    parts = [drawn(seed=seed) for seed in range(3)]
    parts = [replace(part, table=part.table.assign(path=numbered)) for part in parts]
    pooled = pool_predictions(parts)
    assert (pooled.repeats, pooled.images, len(pooled.table)) == (3, 120, 360)
    for name in ("accuracy", "recall", "auroc", "auprc", "loss"):
        singles = [group_intervals(part)[name].value for part in parts]
        assert group_intervals(pooled)[name].value == pytest.approx(np.mean(singles))
    same = pool_predictions([parts[0]] * 3)  # three times the same tells no more than once
    for by_image in (True, False):
        once = group_intervals(parts[0], by_image)
        for name, interval in group_intervals(same, by_image).items():
            expected = once[name].value, once[name].low, once[name].high
            assert (interval.value, interval.low, interval.high) == pytest.approx(expected, nan_ok=True), name
    assert image_intervals(same)["accuracy"].low == pytest.approx(image_intervals(parts[0])["accuracy"].low)
