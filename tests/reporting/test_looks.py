from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from hemai.evaluation.predictions import Predictions
from hemai.reporting.looks import describe_look

TESTED = Predictions(pd.DataFrame({"path": ["a"], "label": ["all"]}), np.zeros((1, 2)), ("all", "hem"), ("all",))


def run(seed, data="cnmc", threshold=True):
    torch.manual_seed(seed)
    metadata = {"data": data, "split_hash": "12ab"}
    config = {"threshold": {}} if threshold else {}
    return SimpleNamespace(path=Path("run"), model=torch.nn.Linear(2, 2), metadata=metadata, config=config)


def test_a_second_model_on_the_same_images_is_told_to_be_the_second_look(cache_folder):
    first, before = describe_look(TESTED, [run(1)])
    assert first.startswith("Look 1 of this test set (SHA-256 prefix ") and "no other model" in first
    assert before == "Split (12ab) and rule of the threshold were written into the run folder before training."
    second = describe_look(TESTED, [run(2)])[0]
    assert second.startswith("Look 2 of this test set") and "2 models" in second
    again = describe_look(TESTED, [run(1)])[0]
    assert again.startswith("Look 1 of this test set") and "2 models were tested on it so far" in again


def test_of_an_external_test_set_or_an_older_run_nothing_was_written_before(cache_folder):
    external = SimpleNamespace(name="iranian")
    assert len(describe_look(TESTED, [run(1)], external)) == 1
    assert len(describe_look(TESTED, [run(1, threshold=False)])) == 1


def test_drawn_images_are_not_counted(cache_folder):
    assert describe_look(TESTED, [run(1, data="synthetic")]) == []
    assert describe_look(TESTED, [run(1)], SimpleNamespace(name="synthetic")) == []
    assert not cache_folder.exists()
