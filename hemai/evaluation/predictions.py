"""The file of predictions, from which all later figures are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from hemai.evaluation.metrics import compute_metrics, confusion_matrix
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import read_table

COLUMNS = ("path", "label", "group")
TOLERANCE = 1e-3  # of the sum of probabilities, and between them and the logits
OPERATING_POINT = ("threshold", "temperature")


@dataclass(frozen=True)
class Predictions:
    """What a network said of a set of images.

    Attributes:
        table: One row an image: `path, label, group` and what else is known; of images without labels `path` alone.
        logits: float64, shape (N, classes).
        classes: Names; the position is the target.
        positive: The malignant ones.
        threshold: From this probability of being malignant on an image is called so, as chosen on validation: one
            number, or shape (N,) where several networks were tested on images of their own; None: not chosen.
        temperature: Divisor of the logits, likewise.
        group_kind: What a group is: "patient", "block" or "image".
    """

    table: pd.DataFrame
    logits: np.ndarray
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    threshold: float | np.ndarray | None = None
    temperature: float | np.ndarray | None = None
    group_kind: str = "patient"

    @property
    def targets(self) -> np.ndarray:
        """int64, shape (N,)."""
        return np.asarray(self.table["label"].map({label: i for i, label in enumerate(self.classes)}), np.int64)

    @property
    def probabilities(self) -> np.ndarray:
        """float64, shape (N, classes)."""
        return np.asarray(softmax(self.logits, axis=1))

    @property
    def predicted(self) -> list[str]:
        """The likeliest class of each image."""
        return [self.classes[target] for target in self.logits.argmax(axis=1)]

    @property
    def malignant_probability(self) -> np.ndarray:
        """Sum over the positive classes, shape (N,)."""
        return self.probabilities[:, [self.classes.index(label) for label in self.positive]].sum(axis=1)

    @property
    def malignant(self) -> np.ndarray:
        """Whether the class of each image is positive, bool, shape (N,)."""
        return np.asarray(self.table["label"].isin(self.positive), bool)

    @property
    def right(self) -> np.ndarray:
        """Whether the likeliest class is the true one, bool, shape (N,)."""
        return self.logits.argmax(axis=1) == self.targets

    @property
    def calibrated(self) -> Predictions | None:
        """The same after division of the logits by the temperature."""
        if self.temperature is None:
            return None
        return replace(self, logits=self.logits / np.reshape(self.temperature, (-1, 1)), temperature=None)

    def to_csv(self) -> str:
        """With all digits: `path, label, group, predicted`, then `probability/<class>` and `logit/<class>`."""
        table = self.table[list(COLUMNS)].astype(str).reset_index(drop=True)
        table["predicted"] = self.predicted
        for kind, values in (("probability", self.probabilities), ("logit", self.logits)):
            for target, label in enumerate(self.classes):
                table[f"{kind}/{label}"] = values[:, target]
        return table.to_csv(index=False)

    def figures(self) -> dict[str, float]:
        """As of training; see `hemai.evaluation.metrics.compute_metrics`."""
        return compute_metrics(torch.tensor(self.logits), torch.tensor(self.targets), self.classes, self.positive)

    def confusion_matrix(self) -> torch.Tensor:
        """Counts, int64, shape (classes, classes): rows are true classes, columns predicted ones."""
        return confusion_matrix(torch.tensor(self.logits), torch.tensor(self.targets), len(self.classes))

    def group_codes(self) -> tuple[np.ndarray, list[str]]:
        """The number of each image's group, shape (N,), and the names of the groups."""
        codes, names = pd.factorize(self.table["group"], sort=True)
        return codes, list(names)


def read_predictions(file: Path, classes: Sequence[str], positive: Sequence[str]) -> Predictions:
    """Read `predictions_<split>.csv` as a run wrote it.

    Args:
        file: With the columns `path, label, group`, and `logit/<class>` and `probability/<class>` of each class.
        classes: Of the checkpoint.
        positive: The malignant ones.

    Raises:
        UserError: The file cannot be read, lacks columns or rows, names other classes, holds no numbers, or
            probabilities that do not belong to the logits.
    """
    names = {kind: [f"{kind}/{label}" for label in classes] for kind in ("logit", "probability")}
    table = read_table(file, "predictions", [*COLUMNS, *names["logit"], *names["probability"]])
    if table.empty:
        raise UserError(f"{file}: file is empty")
    if (twice := table["path"].duplicated()).any():
        raise UserError(f"{file}: {twice.sum():,} images stand twice: {shorten(table['path'][twice])}")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise UserError(f"{file}: unknown class {shorten(unknown)}; the checkpoint knows {shorten(classes)}")
    numbers = table[[*names["logit"], *names["probability"]]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if (bad := ~np.isfinite(numbers).all(axis=1)).any():
        raise UserError(f"{file}: no finite number in {bad.sum():,} rows: {shorten(table['path'][bad])}")
    logits, probabilities = np.split(numbers, 2, axis=1)
    if (bad := np.abs(probabilities.sum(axis=1) - 1) > TOLERANCE).any():
        raise UserError(f"{file}: probabilities of {bad.sum():,} images do not sum to 1: {shorten(table['path'][bad])}")
    predictions = Predictions(table, logits, tuple(classes), tuple(positive))
    if (bad := (np.abs(predictions.probabilities - probabilities) > TOLERANCE).any(axis=1)).any():
        raise UserError(
            f"{file}: probabilities of {bad.sum():,} images do not match their logits: {shorten(table['path'][bad])}"
        )
    return predictions


def read_probabilities(file: Path, positive: Sequence[str] = (), group_kind: str = "patient") -> Predictions:
    """Read predictions that were made elsewhere, with or without hemai.

    Args:
        file: csv with the columns `group` (such as the patient), `label` and `probability` (of the malignant class, for
            two classes), or `probability/<class>` of each class; also `path`.
        positive: The malignant classes; with labels 0 and 1 by default 1.
        group_kind: What a group is: "patient", "block" or "image".

    Raises:
        UserError: The file cannot be read, lacks columns or rows, or holds values that are not probabilities.
    """
    table = read_table(file, "predictions", ("group", "label"))
    columns = {name.removeprefix("probability/"): name for name in table.columns if name.startswith("probability/")}
    labels = sorted(set(table["label"]))
    if not columns and "probability" not in table.columns:
        raise UserError(
            f"{file}: found columns {shorten(table.columns)}; expected probability (of the malignant class), or "
            "probability/<class> of each class"
        )
    is_binary = not columns  # one probability an image
    if is_binary:
        positive = positive or (["1"] if set(labels) <= {"0", "1"} else [])
        classes = sorted({*labels, *positive} | ({"0", "1"} if list(positive) == ["1"] else set()))
        if len(classes) != 2 or len(positive) != 1:
            raise UserError(
                f"{file}: a column probability needs two classes, and the name of the malignant one; found labels "
                f"{shorten(labels)} and positive={list(positive)}; name it with --positive"
            )
        columns = {label: "probability" for label in classes}
    classes = list(columns)
    if wrong := sorted({*labels, *positive} - set(classes)):
        raise UserError(f"{file}: unknown class {shorten(wrong)}{did_you_mean(wrong[0], classes)} ({shorten(classes)})")
    values = table[list(columns.values())].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if is_binary:
        values = np.where([label in positive for label in classes], values, 1 - values)
    bad = ~((values >= 0) & (values <= 1)).all(axis=1) | (np.abs(values.sum(axis=1) - 1) > TOLERANCE)
    if table.empty or bad.any():
        found = "file is empty" if table.empty else f"{bad.sum():,} rows hold no probabilities"
        raise UserError(f"{file}: {found}; expected numbers from 0 to 1, whose sum over all classes is 1")
    if "path" not in table.columns:
        table = table.assign(path=[f"row {number}" for number in range(1, len(table) + 1)])
    logits = np.log(np.maximum(values, np.finfo(float).tiny))
    return Predictions(table, logits, tuple(classes), tuple(positive), group_kind=group_kind)
