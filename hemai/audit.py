"""`hemai audit`: how well figures that are not morphology tell the classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hemai import tables
from hemai.build import build_data
from hemai.config import checked_arguments, compose
from hemai.data import CellDataModule
from hemai.errors import UserError
from hemai.evaluation.finished import Finished
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import NETWORK, feature_predictions, shortcut_table
from hemai.files import write_text
from hemai.reporting import print_report
from hemai.reporting.of_images import tell_shortcuts


def audit(
    overrides: Sequence[str], run: Path | None = None, out: Path | None = None, trust: bool = False
) -> pd.DataFrame:
    """Fit a logistic regression on each of `FEATURES`, on training and validation images; test it.

    Args:
        overrides: Data set and split as for train.py.
        run: A run on the same split, whose figures stand beside.
        out: New file for the table, csv.
        trust: Run code that the run names, even if it is not on the allowlist of `hemai.trust`.

    Returns:
        One row a feature: `feature`, then for accuracy, balanced accuracy and (with positive classes) AUROC
        the value and its interval over groups.

    Raises:
        UserError: No test images, or a run with another split.
    """
    if out is not None and out.exists():
        raise UserError(f"--out: {out} is there; choose another")
    data = build_data(compose(checked_arguments(overrides)))
    data.setup()
    if "test" not in data.rows:
        raise UserError("no image is in test; choose a split with a test set, such as data.split=group")
    network = {} if run is None else {NETWORK: _of_run(Finished(run, trust), data)}
    tables.print_data(data)
    table = shortcut_table([feature_predictions(data) | network])
    if out is not None:
        try:
            write_text(out, table.to_csv(index=False))
        except OSError as error:
            raise UserError(f"--out: cannot write {out} ({error}); choose another place") from error
    section = replace(tell_shortcuts(table, data.dataset.group_kind, data), is_brief=True)
    print_report(data.dataset.name, [section])
    if out is not None:
        print(f"written to {out}")
    return table


def _of_run(run: Finished, data: CellDataModule) -> Predictions:
    predictions = run.tested()
    if set(predictions.table["path"]) != set(data.table["path"].iloc[data.rows["test"]]):
        raise UserError(f"--run: {run.place} was tested on other images; repeat its data and seed settings here")
    return predictions
