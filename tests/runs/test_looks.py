from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from hemai.runs.looks import record_look

TESTED = pd.DataFrame({"path": ["b.png", "a.png"], "label": ["all", "hem"]})


def run(seed):
    torch.manual_seed(seed)
    return SimpleNamespace(path=Path(f"run{seed}"), model=torch.nn.Linear(2, 2), metadata={"threshold_rule": "0.5"})


def test_each_model_looks_once_however_often_it_is_evaluated(cache_folder):
    numbers = [(look.number, look.total) for look in (record_look(TESTED, [run(seed)]) for seed in (1, 2, 2, 1, 3))]
    assert numbers == [(1, 1), (2, 2), (2, 2), (1, 2), (3, 3)]
    ledger = pd.read_csv(cache_folder / "looks.csv")
    assert [Path(path).name for path in ledger["runs"]] == ["run1", "run2", "run3"]
    assert set(ledger["threshold_rule"]) == {0.5}


def test_runs_together_are_one_model_whatever_their_order(cache_folder):
    for runs in ([run(1), run(2)], [run(2), run(1)]):
        assert record_look(TESTED, runs).total == 1
    assert record_look(TESTED, [run(1)]).number == 2


def test_a_test_set_is_its_paths_and_labels_in_any_order(cache_folder):
    first = record_look(TESTED, [run(1)])
    assert record_look(TESTED.iloc[::-1], [run(2)]).test_set == first.test_set
    others = [TESTED.assign(label="all"), TESTED.assign(path=["c.png", "a.png"]), TESTED.iloc[:1]]
    found = [record_look(other, [run(1)]) for other in others]
    assert all((look.number, look.total) == (1, 1) for look in found)
    assert len({first.test_set, *(look.test_set for look in found)}) == 4


@pytest.mark.parametrize("damage", ["a folder", "no text", "no columns"])
def test_a_record_that_cannot_be_read_stops_nothing(cache_folder, damage):
    cache_folder.mkdir()
    file = cache_folder / "looks.csv"
    if damage == "a folder":
        file.mkdir()
    else:
        file.write_bytes(b"\xff\xfe\x00\n" if damage == "no text" else b"some,thing\n1,2\n")
    look = record_look(TESTED, [run(1)])
    assert look is None or look.number == 1


def test_where_nothing_can_be_written_nothing_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEMAI_CACHE", str(tmp_path / "file"))
    assert record_look(TESTED, [run(1)]) is None
