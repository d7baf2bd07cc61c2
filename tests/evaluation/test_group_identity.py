import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from hemai.evaluation.group_identity import identify_groups


def drawn(spread):
    """Features of images of 3 patients with leukaemia and 2 without, about a centre of each patient."""
    rng = np.random.default_rng(0)
    group = np.repeat(["A", "B", "C", "D", "E"], [30, 20, 10, 25, 15])
    label = np.where(np.isin(group, ["A", "B", "C"]), "all", "hem")
    centres = dict(zip("ABCDE", rng.normal(0, spread, (5, 8)), strict=True))
    features = np.stack([centres[name] for name in group]) + rng.normal(0, 1, (100, 8))
    return features * np.geomspace(1e-3, 1e3, 8), pd.DataFrame({"label": label, "group": group})


@pytest.mark.parametrize("spread", [0.0, 0.7, 20.0])
def test_a_group_is_told_as_by_the_nearest_neighbour_of_scikit_learn(spread):
    features, table = drawn(spread)
    found = identify_groups(features, table).set_index("label")
    for label in ("all", "hem"):
        rows = (table["label"] == label).to_numpy()
        scaled, groups = StandardScaler().fit_transform(features[rows]), table["group"][rows].to_numpy()
        expected = cross_val_score(KNeighborsClassifier(1), scaled, groups, cv=LeaveOneOut()).mean()
        assert found.loc[label, "identified"] == pytest.approx(expected)
    assert found["groups"].to_dict() == {"all": 3, "hem": 2, "all classes": 5}
    assert found["images"].to_dict() == {"all": 60, "hem": 40, "all classes": 100}
    assert found["chance"].to_dict() == {"all": 30 / 60, "hem": 25 / 40, "all classes": pytest.approx((30 + 25) / 100)}
    mean = (60 * found.loc["all", "identified"] + 40 * found.loc["hem", "identified"]) / 100
    assert found.loc["all classes", "identified"] == pytest.approx(mean)
    if spread == 20:
        assert (found["identified"] == 1).all()


def test_a_class_with_one_group_tells_nothing():
    features, table = drawn(1.0)
    table.loc[table["label"] == "hem", "group"] = "D"
    assert identify_groups(features, table)["label"].tolist() == ["all"]
    table["group"] = np.arange(100)
    assert identify_groups(features, table).empty
