import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, roc_auc_score

from hemai.evaluation.paired import holm, paired_differences
from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError


def drawn(patients=12, images=20, seed=0, quality=1.0, noise_seed=1):
    """Predictions of images of patients; the same `seed` gives the same images."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(patients), images)
    malignant = group % 2 == 0
    shared = np.where(malignant, 0.5, -0.5) + rng.normal(0, 0.5, patients)[group] + rng.normal(0, 1, len(group))
    logit = quality * shared + np.random.default_rng(noise_seed).normal(0, 0.5, len(group))
    table = pd.DataFrame(
        {
            "path": [f"{row}.png" for row in range(len(group))],
            "label": np.where(malignant, "all", "hem"),
            "group": [f"P{number}" for number in group],
        }
    )
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",))


def test_the_interval_is_a_jackknife_over_patients_of_each_class_done_one_by_one():
    one, other = drawn(), drawn(quality=0.3, noise_seed=2)
    found = paired_differences(one, other)
    groups, malignant = one.table["group"].to_numpy(), one.malignant
    scores = [part.logits[:, 0] for part in (one, other)]
    metrics = {"auroc": roc_auc_score, "accuracy": lambda truth, score: accuracy_score(truth, score >= 0)}
    for name, metric in metrics.items():
        values = [metric(malignant, score) for score in scores]
        left_out = np.array(
            [
                np.subtract(*(metric(malignant[groups != f"P{p}"], score[groups != f"P{p}"]) for score in scores[::-1]))
                for p in range(12)
            ]
        )
        variances = [5**2 / 6 * np.var(left_out[kind::2], ddof=1) for kind in (0, 1)]
        freedom = sum(variances) ** 2 / sum(variance**2 / 5 for variance in variances)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances))
        difference = values[1] - values[0]
        assert (found[name].one, found[name].other) == pytest.approx(tuple(values))
        assert (found[name].low, found[name].high) == pytest.approx((difference - half, difference + half))
        assert found[name].p == pytest.approx(2 * stats.t.sf(abs(difference) / np.sqrt(sum(variances)), freedom))


def test_the_order_of_the_images_does_not_matter():
    one, other = drawn(), drawn(quality=0.3, noise_seed=2)
    order = np.random.default_rng(0).permutation(len(other.targets))
    shuffled = Predictions(other.table.iloc[order], other.logits[order], other.classes, other.positive)
    assert paired_differences(one, shuffled) == paired_differences(one, other)


def test_a_difference_is_found_more_often_than_by_intervals_of_each():
    one, other = drawn(), drawn(quality=0.9, noise_seed=1)
    other.logits[:, 0] -= 0.4
    found = paired_differences(one, other)["recall"]
    assert found.verdict() == "worse" and found.high < 0


def test_two_runs_alike_have_no_difference():
    found = paired_differences(drawn(), drawn())["auroc"]
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.verdict() == "no evidence of a difference"


def test_verdicts_of_non_inferiority():
    one, other = drawn(), drawn(noise_seed=2)
    found = paired_differences(one, other)["auroc"]
    assert found.low < 0 < found.high
    assert found.verdict(margin=2 * -found.low) == f"not inferior by {2 * -found.low:g}"
    assert found.verdict(margin=0.5 * -found.low) == f"non-inferiority by {0.5 * -found.low:g} not shown"


def test_one_patient_of_a_class_leaves_no_interval():
    one, other = drawn(3), drawn(3, noise_seed=2)
    found = paired_differences(one, other)["auroc"]
    assert not np.isnan(found.value) and np.isnan(found.low)
    assert found.verdict().startswith("not defined: one group of a class")


def test_groups_that_all_differ_alike_have_no_p_value():
    one = drawn()
    perfect = Predictions(one.table, np.where(one.malignant, 9.0, -9.0)[:, None] * [1, 0], one.classes, one.positive)
    constant = Predictions(one.table, np.tile([-0.4, 0.0], (240, 1)), one.classes, one.positive)
    found = paired_differences(constant, perfect)["auroc"]
    assert found.value == 0.5 and np.isnan([found.low, found.high, found.p]).all()
    assert found.verdict().startswith("not defined")


def test_the_better_of_two_is_called_so_and_a_small_loss_within_the_margin_not_inferior():
    worse, better = drawn(40, quality=0.1, noise_seed=2), drawn(40)
    assert paired_differences(worse, better)["auroc"].verdict() == "better"
    loss = paired_differences(better, worse)["auroc"]
    assert loss.verdict() == "worse"
    assert loss.verdict(margin=0.99) == "not inferior by 0.99"
    assert loss.verdict(p=0.2) == "no evidence of a difference"  # adjusted for other runs


def test_one_group_with_both_classes_is_counted_with_most_of_its_images():
    one, other = drawn(), drawn(quality=0.3, noise_seed=2)
    tables = [part.table.assign(label=part.table["label"].where(part.table.index != 0, "hem")) for part in (one, other)]
    mixed = [
        Predictions(table, part.logits, part.classes, part.positive)
        for table, part in zip(tables, (one, other), strict=True)
    ]
    assert not np.isnan(paired_differences(*mixed)["auroc"].low)


def test_other_malignant_classes_are_refused():
    one = drawn()
    with pytest.raises(UserError, match="same classes in the same order: found all, hem .malignant: all. and all, hem"):
        paired_differences(one, Predictions(one.table, one.logits, one.classes, ("hem",)))


def test_other_test_images_are_refused():
    with pytest.raises(UserError, match="found 240 and 200 images, 200 in common"):
        paired_differences(drawn(), drawn(10))


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    adjusted = holm({"a": 0.5, "b": np.nan, "c": 0.02})
    assert np.isnan(adjusted["b"]) and adjusted["c"] == 0.04 and adjusted["a"] == 0.5


def test_few_patients_show_no_non_inferiority():
    same = drawn(patients=8)  # four of each class, all predicted alike
    found = paired_differences(same, same)["accuracy"]
    assert (found.value, found.low, found.high, found.fewest) == (0, 0, 0, 4)
    assert found.verdict(margin=0.01).startswith("not shown to be non-inferior: 4 groups of a class")
    many = drawn(patients=10)
    assert paired_differences(many, many)["accuracy"].verdict(margin=0.01) == "not inferior by 0.01"
