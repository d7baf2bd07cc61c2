"""Tables of predicted images and groups, written block by block, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.data.image_list import ImageList
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.per_patient import predicted_groups, sums_by_group
from hemai.evaluation.prevalence import PriorShift
from hemai.runs.ensemble import pool_probabilities
from hemai.runs.inference import as_predictions, prediction_table
from hemai.runs.prediction_job import PredictionJob
from hemai.runs.saved_run import SavedRun
from hemai.utils.table_files import open_table

MOST_LISTED = 10


@dataclass
class PredictionSummary:
    """Counts of predicted images.

    Attributes:
        images: Number of images, with the unreadable ones.
        unreadable: Number of unreadable images.
        listed: The first unreadable images, each with its error.
        counts: Number of images by column of the table and value, such as `("predicted", "blast")`.
        threshold: Threshold of `malignant_at_threshold`, after the adjustment to a prevalence; None: not chosen.
        groups: Number of groups; None if they are not known.
    """

    images: int = 0
    unreadable: int = 0
    listed: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    threshold: float | None = None
    groups: int | None = None

    def add(self, table: pd.DataFrame) -> None:
        """Count the rows of a table of predictions."""
        bad = table[table["error"] != ""]
        self.images, self.unreadable = self.images + len(table), self.unreadable + len(bad)
        for path, error in zip(bad["path"], bad["error"], strict=True):
            self.listed += [f"{path}: {error}"] * (len(self.listed) < MOST_LISTED)
        readable = table[table["error"] == ""]
        for column in ("predicted", "malignant", "malignant_at_threshold", "abstained"):
            if column in readable:
                self.counts.update((column, value) for value in readable[column])


def groups_file(out: Path) -> Path:
    """File of the table of groups, beside that of the images."""
    return out.with_name(f"{out.stem}_groups{out.suffix}")


def write_predictions(
    job: PredictionJob,
    runs: Sequence[SavedRun],
    images: ImageList,
    shift: PriorShift | None = None,
    point: OperatingPoint | None = None,
) -> PredictionSummary:
    """Write the table of all images, and of all groups, from the blocks of a finished job.

    The table has one row per image: `path`; `group`, if known; the columns of
    `hemai.runs.inference.prediction_table`; and `error`, why an image could not be read: its other cells are empty. For
    the groups see `hemai.evaluation.per_patient.predicted_groups`.
    """
    summary, sums = PredictionSummary(), []
    by_group = None if images.groups is None else open_table(groups_file(job.out))
    with open_table(job.out) as write_images, by_group or nullcontext() as write_groups:
        for block in job.blocks:
            logits, errors = job.load(block)
            rows = slice(job.rows(block).start, job.rows(block).stop)
            names = pd.DataFrame({"path": images.names[rows]})
            if images.groups is not None:
                names["group"] = images.groups[rows]
            parts = [as_predictions(run.model, names, of_run) for run, of_run in zip(runs, logits, strict=True)]
            predictions = pool_probabilities(parts, point)
            table = _without_unreadable(prediction_table(predictions, shift), errors)
            predictions = predictions if shift is None else shift.adjust(predictions)
            summary.threshold = None if predictions.threshold is None else float(predictions.threshold)
            summary.add(table)
            write_images(table)
            if images.groups is not None:
                sums.append(sums_by_group(table, predictions))
        if write_groups is not None:
            groups = predicted_groups(sums, summary.threshold)
            summary.groups = len(groups)
            write_groups(groups)
    return summary


def _without_unreadable(table: pd.DataFrame, errors: Sequence[str]) -> pd.DataFrame:
    """The table with a column `error`, and without predictions of images that could not be read."""
    table["error"] = errors
    unreadable = table["error"] != ""
    for column in table.columns.difference(["path", "group", "error"]):
        table.loc[unreadable, column] = np.nan if table[column].dtype.kind == "f" else ""
    return table
