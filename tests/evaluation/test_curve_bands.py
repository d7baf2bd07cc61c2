import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from hemai.evaluation.curve_bands import likely_rates, precision_band, roc_band
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.predictions import Predictions

POINTS = np.array([0.02, 0.1, 0.3, 0.6, 0.9])


def drawn(groups=24, images=20, shift=0.5, separation=0.7, seed=0):
    """Predictions of as many malignant as benign groups, each with a shift of its own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), images)
    centres = np.where(np.arange(groups) % 2, -separation, separation) + rng.normal(0, shift, groups)
    score = centres[group] + rng.normal(0, 1, len(group))
    table = pd.DataFrame({"path": "", "label": np.where(group % 2, "hem", "all"), "group": group})
    return Predictions(table, np.stack([score, 0 * score], axis=1), ("all", "hem"), ("all",))


def test_more_groups_make_the_bands_narrower():
    few, many = (np.diff(roc_band(*likely_rates(drawn(groups)), POINTS), axis=0) for groups in (12, 96))
    assert (many < few).all()
    few, many = (np.diff(precision_band(*likely_rates(drawn(groups)), POINTS, 0.5), axis=0) for groups in (12, 96))
    assert (many < few).all()


def test_bands_lie_within_0_and_1_and_rise_with_the_false_positive_rate():
    for separation in (0.0, 0.7, 4.0):
        low, high = roc_band(*likely_rates(drawn(separation=separation)), np.linspace(0, 1, 101))
        assert (low >= 0).all() and (low <= high).all() and (high <= 1).all()
        assert (np.diff(low) > -1e-9).all() and (np.diff(high) > -1e-9).all()


def test_a_band_is_wider_than_the_interval_of_recall_at_a_known_threshold():
    predictions = drawn(groups=40)
    recall = group_intervals(predictions)["recall"]
    wrong = (predictions.malignant_probability >= 0.5)[~predictions.malignant].mean()
    (low,), (high,) = roc_band(*likely_rates(predictions), np.array([wrong]))
    assert low < recall.low < recall.value < recall.high < high  # the false positive rate is uncertain too


def test_where_the_false_positive_rate_is_known_the_band_is_the_interval_of_recall():
    predictions = drawn(groups=40)
    benign = predictions.table["label"].eq("hem").to_numpy()
    copies = [predictions.table[benign].assign(group=lambda t, i=i: t["group"] + 100 * i) for i in range(1, 40)]
    known = Predictions(
        pd.concat([predictions.table[~benign], *copies], ignore_index=True),
        np.concatenate([predictions.logits[~benign], *[predictions.logits[benign]] * len(copies)]),
        ("all", "hem"),
        ("all",),
    )
    recall = group_intervals(known)["recall"]
    wrong = (known.malignant_probability >= 0.5)[~known.malignant].mean()
    assert roc_band(*likely_rates(known), np.array([wrong]))[:, 0] == pytest.approx(
        [recall.low, recall.high], abs=0.025
    )


def test_the_true_curve_of_a_normal_model_lies_in_most_bands():
    scale = 1.25**0.5  # of images of new groups: 1 within, 0.5 between
    truth = norm.cdf(1.4 / scale + norm.ppf(POINTS))
    hits = []
    for seed in range(12):
        low, high = roc_band(*likely_rates(drawn(20, seed=seed)), POINTS)
        hits.append((low <= truth) & (truth <= high))
    assert np.mean(hits) > 0.75  # 60 points, of which those of one curve are alike


def test_with_fewer_than_five_groups_of_a_class_there_is_no_band():
    assert likely_rates(drawn(groups=10)) is not None
    assert likely_rates(drawn(groups=9)) is None
