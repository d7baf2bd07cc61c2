"""What one checkpoint must give on any number of processes."""

import json

import numpy as np
import pandas as pd
import pytest


def figures(folder):
    """Metrics and counts of a run, and its predictions of the test images."""
    result = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in result.items() if "/" in name}, pd.read_csv(folder / "predictions_test.csv")


def assert_same_figures(found, expected):
    """Compare what `figures` returns."""
    (several, again), (one, predicted) = found, expected
    assert again["path"].tolist() == predicted["path"].tolist()  # every image, once, in order
    for column in (name for name in predicted if name.startswith("probability")):
        np.testing.assert_allclose(again[column], predicted[column], atol=1e-5)
    assert one.keys() == several.keys()
    for name, value in one.items():
        # Counts and what follows from them are identical; loss and AUROC hang on probabilities, and their limits on
        # the differences between groups.
        figure = name.removesuffix("/low").removesuffix("/high")
        tolerance = 0 if not figure.endswith(("loss", "auroc")) else 1e-5 if name == figure else 1e-3
        if value is None:  # not defined, on one device as on several
            assert several[name] is None, name
        else:
            assert several[name] == pytest.approx(value, abs=tolerance, rel=tolerance), name
