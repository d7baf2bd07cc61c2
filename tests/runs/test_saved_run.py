import pytest

from hemai.runs.saved_run import load_run
from hemai.utils.errors import UserError


@pytest.mark.parametrize("path", ["", None, 3])
def test_no_path_is_refused(path):
    with pytest.raises(UserError, match="expected the folder of a finished run, or a .ckpt"):
        load_run(path)


@pytest.mark.parametrize("split, told", [("train", r"it has test, val"), ("Test", "did you mean 'test'")])
def test_a_split_without_predictions_is_told_with_those_that_exist(small_run, split, told):
    with pytest.raises(UserError, match=f"has no {split} predictions.*{told}"):
        load_run(small_run[0]).predictions(split)
