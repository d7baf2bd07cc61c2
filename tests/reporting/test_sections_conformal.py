from types import SimpleNamespace

import numpy as np
import pandas as pd

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.summary import evaluate
from hemai.reporting.sections_conformal import conformal_sections


def predictions(patients, blur=0.0, temperature: float | np.ndarray | None = 1.0, network=None, kind="patient"):
    """Two images of each patient; every other patient is malignant, at a probability near 0.9, the others near 0.1."""
    rng = np.random.default_rng(patients)
    malignant = np.arange(2 * patients) % 4 < 2
    score = np.where(malignant, 0.9 - blur, 0.1 + blur) + rng.uniform(-0.05, 0.05, 2 * patients)
    groups = [f"P{i // 2}" for i in range(2 * patients)]
    table = pd.DataFrame({"path": np.arange(2 * patients).astype(str), "group": groups})
    table["label"] = np.where(malignant, "all", "hem")
    logits = np.log(np.stack([score, 1 - score], axis=1))
    return Predictions(table, logits, ("all", "hem"), ("all",), None, temperature, kind, network)


def run(validation):
    return SimpleNamespace(predictions=lambda split: validation, has_predictions=lambda split: validation is not None)


def test_twenty_validation_patients_calibrate_the_sets_of_the_tested_ones():
    [section] = conformal_sections(evaluate(predictions(11)), [run(predictions(20))])
    assert "calibrated on validation patients (20)" in section.sentences[0]
    rows = section.tables[0].frame.set_index("patients")
    assert rows.loc["malignant", "true class in the set"].endswith(" of 6")
    assert rows.loc["all", "true class in the set"].endswith(" of 11")
    assert (rows["both"] == 0).all()  # 0.9 and 0.1 are never within one limit


def test_with_fewer_it_is_told_why_there_are_none():
    for validation, count in ((predictions(19), 19), (None, 0)):
        [section] = conformal_sections(evaluate(predictions(11)), [run(validation)])
        assert section.sentences == [f"None: {count} validation patients calibrate them; 20 or more are needed."]
        assert not section.tables


def test_each_fold_is_calibrated_by_its_own_validation_patients():
    # All tested probabilities are near 0.5. For the first network, sure of its validation patients, that is neither
    # class; for the second, whose true classes had 0.45, it is both.
    first, second = predictions(30), predictions(20, blur=0.45)
    pooled = predictions(10, blur=0.4, temperature=np.ones(20), network=np.repeat([0, 1], [8, 12]))
    [section] = conformal_sections(evaluate(pooled), [run(first), run(second)])
    assert "(30, 20)" in section.sentences[0]
    assert section.tables[0].frame.iloc[0].loc[["both", "none"]].tolist() == [6, 4]


def test_blocks_ensembles_and_adjusted_probabilities_have_no_sets():
    validated = [run(predictions(20))]
    assert conformal_sections(evaluate(predictions(11, kind="block")), validated) == []
    assert conformal_sections(evaluate(predictions(11, temperature=None)), validated) == []
