import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from hemai.evaluation.per_patient import group_table
from hemai.evaluation.plots import POINTS, draw_groups, draw_precision_recall, draw_roc
from hemai.evaluation.predictions import Predictions


@pytest.fixture(params=[2, 0.5], ids=["distinct scores", "equal scores"])
def predictions(request):
    return drawn(digits=request.param)


def drawn(groups=12, images=20, digits=2):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(groups), images)
    logit = np.where(group % 2, -0.7, 0.7) + rng.normal(0, 0.5, groups)[group] + rng.normal(0, 1, len(group))
    logit = (logit * 10**digits).round() / 10**digits
    labels = np.where(group % 2, "hem", "all")
    table = pd.DataFrame({"path": "", "label": labels, "group": [f"P$_{g}$" for g in group]})
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",))


def test_the_curve_is_that_of_scikit_learn_and_lies_within_its_band(predictions):
    axes = draw_roc(predictions).axes[0]
    curve = next(line for line in axes.lines if line.get_label() == "all images").get_ydata()
    x, y, _ = roc_curve(predictions.malignant, predictions.malignant_probability, drop_intermediate=False)
    assert curve == pytest.approx(np.interp(POINTS, x, y))
    assert_in_band(axes, curve)


def assert_in_band(axes, curve):
    band = axes.collections[0].get_paths()[0].vertices
    for point in (15, 20, 50):
        limits = band[np.isclose(band[:, 0], POINTS[point]), 1]
        assert limits.min() <= curve[point] <= limits.max()
    assert np.ptp(band[np.isclose(band[:, 0], POINTS[20]), 1]) > 0.05


def test_the_precision_is_that_of_the_first_threshold_that_finds_so_many(predictions):
    axes = draw_precision_recall(predictions).axes[0]
    curve = next(line for line in axes.lines if line.get_label() == "all images").get_ydata()
    precision, recall, _ = precision_recall_curve(predictions.malignant, predictions.malignant_probability)
    expected = [precision[recall >= point - 1e-9][-1 - (point == 0)] for point in POINTS]
    assert curve[1:] == pytest.approx(expected[1:])
    assert_in_band(axes, curve)


@pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall])
def test_without_five_groups_of_a_class_the_legend_says_that_there_is_no_band(draw):
    figure = draw(drawn(groups=9))
    assert not figure.axes[0].collections
    assert "no band: a class has fewer than 5 patients" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_group_has_a_bar_of_its_accuracy_worst_first():
    groups = group_table(drawn())
    axes = draw_groups(groups, "patient").axes[0]
    widths = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in axes.patches}
    assert [widths[i] for i in range(12)] == pytest.approx(groups["accuracy"].tolist())
    assert axes.get_yticklabels()[0].get_text() == f"{groups['group'][0]} ({groups['images'][0]})"
