import numpy as np
import pandas as pd

from hemai.attribution.samples import draw_evenly


def test_classes_and_patients_take_turns():
    groups = [("all", "1", 50), ("all", "2", 3), ("hem", "H1", 40), ("hem", "H2", 40)]
    table = pd.DataFrame([(label, group) for label, group, count in groups for _ in range(count)])
    table.columns = ["label", "group"]
    drawn = draw_evenly(table, 20)
    assert len(set(drawn.tolist())) == 20
    # Ten of each class; patient 2 has only three.
    assert table.iloc[drawn].value_counts().to_dict() == {
        ("all", "1"): 7, ("all", "2"): 3, ("hem", "H1"): 5, ("hem", "H2"): 5,
    }  # fmt: skip
    assert np.array_equal(drawn, draw_evenly(table, 20))
    assert sorted(draw_evenly(table, 1000)) == list(range(133))
