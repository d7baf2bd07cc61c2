"""Settings and files that once ended in a traceback."""

import numpy as np
import pandas as pd
import pytest

from hemai.data.sampler import ResumableBatchSampler
from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError
from hemai.utils.files import read_table
from tests.small_run import train


def test_a_row_shorter_than_the_header_is_no_row_of_empty_cells(tmp_path):
    (tmp_path / "table.csv").write_text("path,label,group\na.png,all,1\nb.png,hem\n")
    with pytest.raises(UserError, match="row of 2 cells .* expected 3"):
        read_table(tmp_path / "table.csv", "table", ["path"])


def test_predictions_of_one_class_are_refused():
    table = pd.DataFrame({"path": ["a"], "label": ["all"], "group": ["1"]})
    with pytest.raises(UserError, match="two different class names"):
        Predictions(table, np.zeros((1, 1)), ("all",), ())


def test_fewer_images_in_a_batch_than_devices_are_refused():
    with pytest.raises(UserError, match="batch_size=1 for 2 devices"):
        len(ResumableBatchSampler(10, 1, 0, rank=0, world_size=2))


def test_a_validation_interval_longer_than_the_epoch_is_refused(tmp_path):
    with pytest.raises(UserError, match="val_check_interval"):
        train(f"run_dir={tmp_path / 'run'}", "+trainer.val_check_interval=100")
