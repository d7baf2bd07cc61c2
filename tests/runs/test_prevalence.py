from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hemai.runs.prevalence import learned_prevalence, prior_shift
from hemai.utils.errors import UserError

SPLITS = pd.DataFrame({"label": ["hem", *["blast"] * 3, "hem"], "split": [*["train"] * 4, "test"]})


def run(weights=None, splits=SPLITS[:0], config=None, positive=("blast",), **metadata):
    model = SimpleNamespace(classes=["hem", "blast"], positive=positive, hparams={"class_weights": weights})
    config = None if config is None else SimpleNamespace(data=config)
    return SimpleNamespace(path=Path("run"), model=model, metadata=metadata, splits=lambda: splits, config=config)


@pytest.mark.parametrize(
    "trained, expected",
    [
        (run(class_counts=[30, 10]), 0.25),
        (run(class_counts=[30, 10], balance="group"), 0.5),
        (run(weights=[2 / 3, 2.0], class_counts=[30, 10]), 0.5),  # balanced weights
        (run(weights=[1.0, 9.0], class_counts=[30, 10]), 0.75),
        (run(splits=SPLITS, config={}), 0.75),  # an older run: 1 benign and 3 malignant training images
        (run(splits=SPLITS, config={"balance": "class"}), 0.5),
        (run(weights="balanced", splits=SPLITS, config={}), 0.5),
    ],
)
def test_the_learned_prevalence_is_that_of_the_training_images_as_sampled_and_weighted(trained, expected):
    assert learned_prevalence(trained) == pytest.approx(expected)


def test_an_ensemble_has_the_mean_prevalence_and_pooled_test_images_that_of_their_network():
    runs = [run(class_counts=[30, 10]), run(class_counts=[10, 30])]
    assert prior_shift(runs, 0.05).learned == 0.5
    assert prior_shift(runs, 0.05, np.array([1, 0])).learned.tolist() == [0.75, 0.25]


@pytest.mark.parametrize(
    "trained, stated, told",
    [
        (run(class_counts=[30, 10]), 0, "above 0 and below 1"),
        (run(class_counts=[30, 10]), 1.5, "above 0 and below 1"),
        (run(class_counts=[30, 10]), float("nan"), "above 0 and below 1"),
        (run(class_counts=[30, 10], positive=()), 0.05, "no malignant classes"),
        (run(), 0.05, "name the run folder"),
        (run(class_counts=[0, 10]), 0.05, "alone"),
    ],
)
def test_what_cannot_be_adjusted_is_told(trained, stated, told):
    with pytest.raises(UserError, match=told):
        prior_shift([trained], stated)
