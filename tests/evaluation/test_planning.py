import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.planning import patients_needed
from hemai.evaluation.posterior import posterior_means
from hemai.evaluation.predictions import Predictions


def predictions_of(found, images=20):
    """Malignant patients with so many found images each, and as many benign ones with as many cleared."""
    rows = [
        (f"{label}{patient}", label, (image < count) == (label == "all"))
        for label in ("all", "hem")
        for patient, count in enumerate(found)
        for image in range(images)
    ]
    table = pd.DataFrame(rows, columns=["group", "label", "predicted"]).assign(path="")
    logit = np.where(table.pop("predicted"), 1.0, -1.0)
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",))


def test_proportion_and_correlation_are_found_again():
    rng = np.random.default_rng(0)
    size = (1 - 0.3) / 0.3  # a + b of a beta distribution with a mean of 0.8 and a correlation of 0.3
    counts = rng.binomial(30, rng.beta(0.8 * size, 0.2 * size, 400))
    assert posterior_means(counts, np.full(400, 30)) == pytest.approx((0.8, 0.3), abs=0.03)


def test_the_number_follows_from_proportion_and_correlation():
    table = patients_needed(predictions_of([20, 18, 12, 20, 16, 9, 20, 14]), half_width=0.1).set_index("metric")
    row = table.loc["recall"]
    spread = row["value"] * (1 - row["value"]) * (row["correlation"] + (1 - row["correlation"]) / 20)
    assert row["patients_needed"] == np.ceil(1.959964**2 * spread / 0.01)
    assert (row["patients"], row["images_per_patient"]) == (8, 20)
    assert table.loc["specificity", "patients_needed"] == row["patients_needed"]


def test_with_as_many_patients_the_interval_has_that_width():
    rng = np.random.default_rng(1)
    size = (1 - 0.2) / 0.2
    draw = lambda patients: rng.binomial(20, rng.beta(0.8 * size, 0.2 * size, patients))  # noqa: E731
    needed = patients_needed(predictions_of(draw(200)), half_width=0.06).set_index("metric")
    widths = []
    for _ in range(10):
        interval = group_intervals(predictions_of(draw(int(needed.loc["recall", "patients_needed"]))))["recall"]
        widths.append((interval.high - interval.low) / 2)
    assert np.mean(widths) == pytest.approx(0.06, rel=0.15)


def test_more_cells_of_the_same_patients_help_little_where_the_correlation_is_high():
    few, many = ([images * (patient % 2) for patient in range(12)] for images in (10, 100))
    needed = [
        patients_needed(predictions_of(found, n), 0.1)["patients_needed"][0] for found, n in ((few, 10), (many, 100))
    ]
    assert needed[1] > 0.8 * needed[0]
