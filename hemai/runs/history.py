"""Read the metrics of every epoch of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError, one_line
from hemai.utils.files import read_table


def read_history(run: RunFolder) -> pd.DataFrame:
    """Read `metrics.csv`: one row per epoch, and a column for each metric, NaN where it was not measured.

    Raises:
        UserError: The file cannot be read, or has cells that are no numbers.
    """
    table = read_table(run.metrics, "metrics of the run", ["epoch"])
    try:
        if not table["epoch"].all():
            raise ValueError("a row has no epoch")
        return table.replace("", np.nan).astype(float).set_index("epoch", drop=False)
    except ValueError as error:
        raise UserError(f"{run.metrics} is damaged ({one_line(error)}); restore it, or delete it") from error
