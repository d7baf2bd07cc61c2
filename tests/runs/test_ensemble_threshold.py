from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.predictions import Predictions
from hemai.reporting.text import threshold_sentence
from hemai.runs.ensemble import pool_probabilities
from hemai.runs.ensemble_threshold import choose_ensemble_point, threshold_facts

RULE = {"rule": "sensitivity", "sensitivity": 0.75, "confidence": None}


def network(paths, scores, rule=RULE, has_validation=True):
    """A run whose validation images are named after their label, b for blasts; each is a patient of its own."""
    labels = ["blast" if path.startswith("b") else "normal" for path in paths]
    table = pd.DataFrame({"path": paths, "label": labels, "group": paths})
    scores = np.array(scores)
    validation = Predictions(
        table, np.log(np.stack([1 - scores, scores], axis=1)), ("normal", "blast"), ("blast",), 0.01, 1.0
    )
    return SimpleNamespace(
        config={"threshold": rule} if rule else {},
        has_predictions=lambda split: has_validation and split == "val",
        predictions=lambda split: validation,
        metadata={"threshold": 0.01, "threshold_rule": "its own", "group_kind": "patient"},
    )


FIRST = network(["b1", "b2", "n1"], [0.8, 0.6, 0.1])
SECOND = network(["b3", "b4", "n2", "b1"], [0.9, 0.3, 0.2, 0.4])


def test_the_threshold_of_an_ensemble_follows_its_rule_on_the_images_that_its_networks_were_validated_on():
    # Pooled blasts: b1 at the mean 0.6, b2 0.6, b3 0.9, b4 0.3. Three of four lie at 0.6 or above; the next is 0.3.
    point = choose_ensemble_point([FIRST, SECOND])
    assert point.threshold == pytest.approx(0.45)
    assert (point.threshold_sensitivity, point.threshold_images, point.threshold_groups) == (0.75, 4, 4)
    part = FIRST.predictions("val")
    assert pool_probabilities([part, part], point).threshold == pytest.approx(0.45)  # not the mean of theirs, 0.01


def test_the_sentence_says_that_the_threshold_was_chosen_on_pooled_images():
    told = threshold_sentence(0.45, threshold_facts([FIRST, SECOND], is_ensemble=True))
    assert "Threshold 0.450; rule: sensitivity 0.75 on validation, pooled over 2 networks" in told
    assert "reached: 0.750 of 4 malignant images of 4 patients" in told
    of_folds = threshold_sentence(0.01, threshold_facts([FIRST, SECOND], is_ensemble=False))
    assert "the mean of 2 networks; rule: its own" in of_folds


@pytest.mark.parametrize(
    "runs",
    [
        [FIRST],
        [FIRST, network(["b3", "n2"], [0.9, 0.2], rule=RULE | {"sensitivity": 0.9})],
        [FIRST, network(["b3", "n2"], [0.9, 0.2], rule=RULE | {"confidence": 0.9})],
        [FIRST, network(["b3", "n2"], [0.9, 0.2], has_validation=False)],
        [network(["b3", "n2"], [0.9, 0.2], rule=None)] * 2,
    ],
    ids=["one network", "another target", "another confidence", "no validation", "an older run"],
)
def test_without_one_rule_and_validation_images_of_all_the_mean_of_the_thresholds_stays(runs):
    assert choose_ensemble_point(runs) is None
    assert threshold_facts(runs, is_ensemble=True) == [run.metadata for run in runs]
