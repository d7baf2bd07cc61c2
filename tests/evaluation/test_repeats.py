import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.calibration import reliability, risk_coverage
from hemai.evaluation.curve_bands import likely_rates, roc_band
from hemai.evaluation.per_patient import clustering, group_table
from hemai.evaluation.planning import patients_needed
from hemai.evaluation.predictions import Predictions, pool_predictions


@pytest.fixture(scope="module")
def once():
    """Twelve patients of ten images, with a shift of their own."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 10)
    score = np.where(group % 2, -0.5, 0.5) + rng.normal(0, 0.5, 12)[group] + rng.normal(0, 1, 120)
    label = np.where(group % 2, "hem", "all")
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(120)], "label": label, "group": group.astype(str)})
    return Predictions(table, np.stack([score, 0 * score], axis=1), ("all", "hem"), ("all",))


@pytest.fixture(scope="module")
def repeated(once):
    """The same predictions three times, which tell no more than once."""
    return pool_predictions([once] * 3)


@pytest.mark.parametrize("table_of", [clustering, group_table, reliability, lambda p: patients_needed(p, 0.05)])
def test_an_image_that_is_predicted_three_times_counts_once(once, repeated, table_of):
    pd.testing.assert_frame_equal(table_of(repeated), table_of(once), check_dtype=False)


def test_coverage_counts_images(once, repeated):
    kept, expected = risk_coverage(repeated), risk_coverage(once)
    assert kept["images"].tolist() == expected["images"].tolist()
    assert kept["accuracy"].to_numpy() == pytest.approx(expected["accuracy"].to_numpy(), abs=0.02)


def test_repeats_make_no_band_narrower(once, repeated):
    points = np.array([0.1, 0.3, 0.6])
    widths = [np.diff(roc_band(*likely_rates(each), points), axis=0) for each in (repeated, once)]
    assert widths[0] == pytest.approx(widths[1], abs=0.015)  # thresholds are quantiles, which interpolate
