import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.predictions import Predictions
from hemai.evaluation.summary import evaluate
from hemai.utils.errors import UserError

TABLE = pd.DataFrame({"path": ["a.png", "b.png"], "label": ["all", "hem"], "group": ["A", "B"]})
PREDICTIONS = Predictions(TABLE, np.eye(2), ("all", "hem"), ("all",))


@pytest.mark.parametrize("source", [None, [], TABLE, 3])
def test_what_is_neither_predictions_nor_a_file_is_refused(source):
    with pytest.raises(UserError, match=rf"found {type(source).__name__}, expected .* run.predictions\("):
        evaluate(source)


def test_a_run_folder_is_refused_with_advice(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; expected a csv file, or load_run"):
        evaluate(tmp_path)


@pytest.mark.parametrize("options", [{"positive": ["hem"]}, {"group_kind": "block"}])
def test_options_of_a_file_are_refused_beside_predictions(options):
    with pytest.raises(UserError, match="positive and group_kind are for csv files"):
        evaluate(PREDICTIONS, **options)


def test_unlabelled_predictions_are_refused():
    with pytest.raises(UserError, match="no column label, group; only labelled images"):
        evaluate(Predictions(TABLE[["path"]], np.eye(2), ("all", "hem"), ("all",)))
