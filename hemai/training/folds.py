"""Folds of development patients, on which settings, epochs and thresholds are chosen without a test image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hemai.data.leakage import UNUSED
from hemai.data.splits import split_table
from hemai.runs.history import read_history
from hemai.settings.run_folder import RunFolder
from hemai.training.callbacks import mode_of
from hemai.utils.errors import UserError
from hemai.utils.files import csv_text, read_table, write_text


def divide_into_folds(table: pd.DataFrame, is_development: pd.Series, seed: int, count: int) -> list[pd.Series]:
    """Divide the development images into grouped, stratified folds, each of which is validated once.

    Args:
        table: Columns `path, label, group, fold` of all images.
        is_development: Whether an image belongs to the development images, with the index of `table`.
        seed: Seed of the folds.
        count: Number of folds.

    Returns:
        Splits, each "train", "val" or, for all other images, `UNUSED`, with the index of `table`.

    Raises:
        UserError: Fewer than two folds, or more than groups.
    """
    part = table[is_development]
    splits = [split_table(part, "kfold", seed, fold, count, (), {"train": 1.0}) for fold in range(count)]
    return [split.replace("test", "val").reindex(table.index, fill_value=UNUSED) for split in splits]


def write_split(file: Path, table: pd.DataFrame, split: pd.Series) -> str:
    """Write a split of the images of `table` as a csv file, in a folder that is made where it is missing.

    Returns:
        The setting that makes a run use it.
    """
    file = file.absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, csv_text(table[["path"]].assign(split=split)))
    return f"data.split={file}"


def pool_validation(runs: Sequence[RunFolder], file: Path) -> str:
    """Pool the validation predictions of runs, which are those of the networks that did not train on the image.

    Returns:
        The setting that makes a run choose its threshold and temperature on them.
    """
    file = file.absolute()
    predictions = pd.concat([read_table(run.predictions("val"), "predictions", ["path"]) for run in runs])
    write_text(file, csv_text(predictions))
    return f"threshold.validation={file}"


def mean_curve(runs: Sequence[RunFolder], monitor: str) -> pd.Series:
    """Mean of the monitored metric over runs, by epoch (from 1), of the epochs in which all have it."""
    curves = [read_history(run).get(monitor, pd.Series(dtype=float)) for run in runs]
    return pd.concat(curves, axis=1).dropna().mean(axis=1)


def best_epoch(runs: Sequence[RunFolder], monitor: str) -> tuple[int, float]:
    """Epoch with the best mean of the monitored metric over runs, and this mean.

    Raises:
        UserError: No epoch in which all runs have the metric.
    """
    mean = mean_curve(runs, monitor)
    if mean.empty:
        raise UserError(f"monitor={monitor} is not defined in all inner folds; choose another, such as val/loss")
    position = int(mean.argmin() if mode_of(monitor) == "min" else mean.argmax())
    return int(mean.index[position]), float(mean.iloc[position])
