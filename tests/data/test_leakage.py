import numpy as np
import pandas as pd
import pytest

from hemai.data.leakage import count_leakage, leak_test_groups
from hemai.data.splits import count_folds


@pytest.fixture
def cells():
    """Two tested patients, of 10 and of 5 cells, and three others."""
    sizes = {("P1", "all"): 10, ("H1", "hem"): 5, ("P2", "all"): 20, ("P3", "all"): 20, ("H2", "hem"): 12}
    rows = [(f"{g}_{i}.bmp", label, g, "") for (g, label), size in sizes.items() for i in range(1, size + 1)]
    table = pd.DataFrame(rows, columns=["path", "label", "group", "fold"]).sample(frac=1, random_state=0)
    return table, table["group"].isin(["P1", "H1"]).map({True: "test", False: "train"})


def numbers(table, rows, group):
    return sorted(int(path.split("_")[1][:-4]) for path in table["path"][rows & (table["group"] == group)])


def test_half_of_each_tested_patient_trains_and_the_other_half_is_tested(cells):
    table, split = cells
    first, second = (leak_test_groups(table, split, half, 0.5, seed=0) for half in (0, 1))
    assert numbers(table, first == "train", "P1") == [1, 2, 3, 4, 5]  # cell 10 comes after 9, not after 1
    assert numbers(table, first == "test", "P1") == [6, 7, 8, 9, 10]
    assert numbers(table, first == "test", "H1") == numbers(table, second == "train", "H1") == [4, 5]
    tested = table["path"][first == "test"].tolist() + table["path"][second == "test"].tolist()
    assert sorted(tested) == sorted(table["path"][split == "test"])  # together every test image once


def test_training_keeps_its_size_and_its_classes(cells):
    table, split = cells
    for dose in (0.2, 0.5):
        leaky = leak_test_groups(table, split, 0, dose, seed=1)
        for label in ("all", "hem"):
            rows = table["label"] == label
            assert (leaky[rows] == "train").sum() == (split[rows] == "train").sum()
    assert count_leakage(table, leaky).groups == ("H1", "P1")
    assert leak_test_groups(table, split, 0, 0.5, seed=1).equals(leaky)


def test_a_smaller_dose_leaks_fewer_images_evenly_spaced(cells):
    table, split = cells
    leaky = leak_test_groups(table, split, 0, 0.2, seed=0)
    assert numbers(table, leaky == "train", "P1") == [1, 5]
    assert numbers(table, leaky == "test", "P1") == [6, 7, 8, 9, 10]


def test_there_are_as_many_folds_as_patients_of_the_rarest_class_and_at_most_five(cells):
    table, _ = cells
    assert count_folds(table) == 2
    external = table.assign(fold=np.where(table["group"] == "H2", "elsewhere", ""))
    assert count_folds(external, ["elsewhere"]) == 1
    assert count_folds(table.assign(group=table["path"])) == 5
