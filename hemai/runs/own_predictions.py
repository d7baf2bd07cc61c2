"""Predictions that a run saved of its own images, compared with its split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hemai.evaluation.prediction_files import read_predictions
from hemai.evaluation.predictions import Predictions
from hemai.models.classifier import CellClassifier
from hemai.utils.errors import UserError


def read_own_predictions(
    file: Path, split: str, model: CellClassifier, splits: pd.DataFrame, command: str
) -> Predictions:
    """Read the predictions of one split of a run.

    Args:
        file: `predictions_<split>.csv`.
        split: Name of the split.
        model: Classifier of the run.
        splits: `splits.csv` of the run.
        command: Command that reproduces the run, for the error.

    Raises:
        UserError: The images are not those of the split, or the classes not those of the classifier.
    """
    predictions, columns = read_predictions(file, model.classes, model.positive), ["path", "label", "group"]
    expected = splits.loc[splits["split"] == split, columns].sort_values("path", ignore_index=True)
    found = predictions.table[columns].sort_values("path", ignore_index=True)
    if not found.equals(expected):
        raise UserError(
            f"{file}: path, label and group do not match the {len(expected):,} {split} images of splits.csv; "
            f"restore the file, or rerun: {command}"
        )
    return predictions
