from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.predictions import Predictions
from hemai.runs.ensemble import pool_probabilities, pool_test_predictions, spread_over_runs
from hemai.utils.errors import UserError

CLASSES = ("all", "hem")


def predictions(paths, scores, labels=None, threshold=None, temperature=None):
    scores = np.array(scores, float)
    table = pd.DataFrame({"path": list(paths), "label": labels or ["all"] * len(scores), "group": list(paths)})
    logits = np.log(np.stack([scores, 1 - scores], axis=1))
    return Predictions(table, logits, CLASSES, ("all",), threshold, temperature)


def run(tested, **metadata):
    return SimpleNamespace(predictions=lambda: tested, metadata=metadata)


def test_each_image_keeps_the_threshold_of_the_network_that_was_tested_on_it():
    first, second = (
        predictions("ab", [0.4, 0.6], threshold=0.3, temperature=2.0),
        predictions("c", [0.5], threshold=0.7),
    )
    pooled = pool_test_predictions([run(first), run(second)])
    assert pooled.table["path"].tolist() == ["a", "b", "c"]
    assert pooled.malignant_probability == pytest.approx([0.4, 0.6, 0.5])
    assert pooled.threshold.tolist() == [0.3, 0.3, 0.7]
    assert pooled.temperature is None  # one of them has none


def test_images_that_are_not_tested_equally_often_are_refused():
    with pytest.raises(UserError, match=r"1 images were tested by more of these runs than others \(b\)"):
        pool_test_predictions([run(predictions("ab", [0.4, 0.6])), run(predictions("bc", [0.5, 0.5]))])


def test_an_ensemble_answers_with_the_mean_of_probabilities_and_thresholds():
    parts = [
        predictions("ab", [0.2, 0.1], threshold=0.3, temperature=3.0),
        predictions("ab", [0.8, 0.5], threshold=0.6, temperature=2.0),
    ]
    together = pool_probabilities(parts)
    assert together.malignant_probability == pytest.approx([0.5, 0.3])
    assert together.threshold == pytest.approx(0.45)
    assert together.temperature is None
    assert pool_probabilities([*parts, predictions("ab", [0.5, 0.5])]).threshold is None


def test_mean_and_spread_are_those_of_the_runs_on_their_own_images():
    labels = ["all", "all", "hem", "hem"]
    scores = ([0.9, 0.8, 0.1, 0.2], [0.9, 0.1, 0.1, 0.2], [0.9, 0.1, 0.9, 0.2])  # 4, 3 and 2 of 4 right
    found = spread_over_runs([run(predictions("abcd", of_run, labels)) for of_run in scores])
    assert found["runs/accuracy/mean"] == 0.75
    assert found["runs/accuracy/sd"] == 0.25
    assert (found["runs/recall/lowest"], found["runs/recall/highest"]) == (0.5, 1)
    one_class = [run(predictions("ab", [0.9, 0.9])), run(predictions("ab", [0.9, 0.9]))]
    assert spread_over_runs(one_class)["runs/specificity/mean"] is None
    assert spread_over_runs(one_class[:1]) == {}
