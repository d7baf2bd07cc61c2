"""`hemai audit`: how well figures that are not morphology tell the classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from hemai import tables
from hemai.build import build_data
from hemai.config import checked_arguments, compose
from hemai.data import CellDataModule
from hemai.errors import UserError
from hemai.evaluation.duplicates import count_duplicates
from hemai.evaluation.features import FEATURES
from hemai.evaluation.finished import Finished
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import FIGURES, NETWORK, feature_predictions, shortcut_table
from hemai.files import write_text


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
    console = Console()
    tables.print_data(data, console)
    table = shortcut_table([feature_predictions(data) | network])
    _print(table, data, console)
    console.print(f"- {count_duplicates(data)}", highlight=False, soft_wrap=True)
    if out is not None:
        try:
            write_text(out, table.to_csv(index=False))
        except OSError as error:
            raise UserError(f"--out: cannot write {out} ({error}); choose another place") from error
        console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)
    return table


def _of_run(run: Finished, data: CellDataModule) -> Predictions:
    predictions = run.tested()
    if set(predictions.table["path"]) != set(data.table["path"].iloc[data.rows["test"]]):
        raise UserError(f"--run: {run.place} was tested on other images; repeat its data and seed settings here")
    return predictions


def _print(table: pd.DataFrame, data: CellDataModule, console: Console) -> None:
    kind = data.dataset.group_kind
    told = [figure for figure in FIGURES if figure in table and figure != "balanced_accuracy"]  # the file has it
    shown = Table(title=f"what tells the classes apart (95 % for new {kind}s)", title_justify="left")
    shown.add_column("from this alone")
    for figure in told:
        shown.add_column(figure, no_wrap=True)
    for row in table.to_dict("records"):
        if row["feature"] == NETWORK:
            shown.add_section()
        limits = [(row[f"{figure}/low"], row[f"{figure}/high"]) for figure in told]
        cells = (
            f"{row[figure]:.3f} ({low:.3f} to {high:.3f})" if low == low else f"{row[figure]:.3f}"
            for figure, (low, high) in zip(told, limits, strict=True)
        )
        shown.add_row(row["feature"], *cells)
    console.print(shown)
    for name, meaning in FEATURES.items():
        if meaning:
            console.print(f"- {name}: {meaning}", highlight=False, soft_wrap=True)
    console.print(
        "- a logistic regression, fitted on training and validation images; a corner: blocks of a patch about as "
        "large as a scale bar",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
