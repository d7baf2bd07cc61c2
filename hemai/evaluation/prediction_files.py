"""Read predictions from csv files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.evaluation.predictions import COLUMNS, Predictions
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import read_table

TOLERANCE = 1e-3  # of the sum of probabilities, and between them and the logits


def read_predictions(file: Path, classes: Sequence[str], positive: Sequence[str]) -> Predictions:
    """Read `predictions_<split>.csv` of a run.

    Args:
        file: csv with the columns `path, label, group`, and `logit/<class>` and `probability/<class>` of each class.
        classes: Class names of the checkpoint; the position is the target.
        positive: Malignant classes.

    Raises:
        UserError: The file cannot be read, lacks columns or rows, repeats an image, has unknown classes, values that
            are not numbers, or probabilities that do not match the logits.
    """
    names = {kind: [f"{kind}/{label}" for label in classes] for kind in ("logit", "probability")}
    table = read_table(file, "predictions", [*COLUMNS, *names["logit"], *names["probability"]])
    if table.empty:
        raise UserError(f"{file}: file is empty")
    if (repeated := table["path"].duplicated()).any():
        raise UserError(f"{file}: {repeated.sum():,} repeated images: {shorten(table['path'][repeated])}")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise UserError(f"{file}: unknown class {shorten(unknown)}; the checkpoint has {shorten(classes)}")
    numbers = table[[*names["logit"], *names["probability"]]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if (bad := ~np.isfinite(numbers).all(axis=1)).any():
        raise UserError(f"{file}: missing or non-finite numbers in {bad.sum():,} rows: {shorten(table['path'][bad])}")
    logits, probabilities = np.split(numbers, 2, axis=1)
    if (bad := np.abs(probabilities.sum(axis=1) - 1) > TOLERANCE).any():
        raise UserError(f"{file}: probabilities of {bad.sum():,} images do not sum to 1: {shorten(table['path'][bad])}")
    predictions = Predictions(table, logits, tuple(classes), tuple(positive))
    if (bad := (np.abs(predictions.probabilities - probabilities) > TOLERANCE).any(axis=1)).any():
        raise UserError(
            f"{file}: probabilities of {bad.sum():,} images do not match their logits: {shorten(table['path'][bad])}"
        )
    return predictions


def read_probabilities(file: Path, positive: Sequence[str] | None = None, group_kind: str = "patient") -> Predictions:
    """Read a csv file of predictions, made with or without hemai.

    Args:
        file: csv with the columns `group` (such as the patient), `label` and `probability` (of the malignant class, for
            two classes), or `probability/<class>` of each class; optionally `path`.
        positive: Malignant classes; default: 1 if the labels are 0 and 1.
        group_kind: What a group is: "patient", "block" or "image".

    Raises:
        UserError: The file cannot be read, lacks columns or rows, or holds values that are not probabilities; or
            classes or a kind of group that are unknown.
    """
    if isinstance(positive, str) or not isinstance(positive, Sequence | None):
        raise UserError(f"positive={positive!r}: expected a list, such as positive=[{positive!r}]")
    table = read_table(file, "predictions", ("group", "label"))
    for column in ("group", "label"):
        if (empty := table[column] == "").any():
            raise UserError(f"{file}: {empty.sum():,} rows without {column}; complete or remove them")
    columns = {name.removeprefix("probability/"): name for name in table.columns if name.startswith("probability/")}
    labels = sorted(set(table["label"]))
    if not columns and "probability" not in table.columns:
        raise UserError(
            f"{file}: found columns {shorten(table.columns)}; expected probability (of the malignant class), or "
            "probability/<class> of each class"
        )
    is_binary = not columns  # one probability per image
    known = labels if is_binary else list(columns)
    positive = [str(label) for label in positive or ()] or (["1"] if set(known) <= {"0", "1"} else [])
    if is_binary:
        classes = sorted({*labels, *positive} | ({"0", "1"} if positive == ["1"] else set()))
        if len(labels) == 2 and (unknown := [label for label in positive if label not in labels]):
            raise UserError(
                f"{file}: positive: unknown class {shorten(unknown)}{did_you_mean(unknown[0], labels)} "
                f"(expected one of {shorten(labels)})"
            )
        if len(classes) != 2 or len(positive) != 1:
            raise UserError(
                f"{file}: column probability needs two classes, one of them malignant; found labels "
                f"{shorten(labels)} and positive={positive}; name the malignant class with --positive NAME, in Python "
                "with positive=[NAME]"
            )
        columns = {label: "probability" for label in classes}
    classes = list(columns)
    if unknown := sorted({*labels, *positive} - set(classes)):
        raise UserError(
            f"{file}: unknown class {shorten(unknown)}{did_you_mean(unknown[0], classes)} (expected {shorten(classes)})"
        )
    values = table[list(columns.values())].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if is_binary:
        values = np.where([label in positive for label in classes], values, 1 - values)
    bad = ~((values >= 0) & (values <= 1)).all(axis=1) | (np.abs(values.sum(axis=1) - 1) > TOLERANCE)
    if table.empty or bad.any():
        found = "file is empty" if table.empty else f"{bad.sum():,} rows without valid probabilities"
        raise UserError(f"{file}: {found}; expected numbers from 0 to 1 that sum to 1 over all classes")
    if "path" not in table.columns:
        table = table.assign(path=[f"row {number}" for number in range(1, len(table) + 1)])
    logits = np.log(np.maximum(values, np.finfo(float).tiny))
    return Predictions(table, logits, tuple(classes), tuple(positive), group_kind=group_kind)
