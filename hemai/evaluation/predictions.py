"""The file of predictions, from which all later figures are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from hemai.errors import UserError, some
from hemai.files import read_table
from hemai.metrics import compute_figures, confusion_matrix

COLUMNS = ("path", "label", "group")
TOLERANCE = 1e-3  # of the sum of probabilities, and between them and the logits


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
        temperature: Of the logits, likewise.
    """

    table: pd.DataFrame
    logits: np.ndarray
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    threshold: float | np.ndarray | None = None
    temperature: float | np.ndarray | None = None

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
        """As of training; see `hemai.metrics.compute_figures`."""
        return compute_figures(torch.tensor(self.logits), torch.tensor(self.targets), self.classes, self.positive)

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
        raise UserError(f"{file}: no image in it")
    if (twice := table["path"].duplicated()).any():
        raise UserError(f"{file}: {twice.sum():,} images stand twice: {some(table['path'][twice])}")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise UserError(f"{file}: unknown class {some(unknown)}; the checkpoint knows {some(classes)}")
    numbers = table[[*names["logit"], *names["probability"]]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if (bad := ~np.isfinite(numbers).all(axis=1)).any():
        raise UserError(f"{file}: no finite number in {bad.sum():,} rows: {some(table['path'][bad])}")
    logits, probabilities = np.split(numbers, 2, axis=1)
    if (bad := np.abs(probabilities.sum(axis=1) - 1) > TOLERANCE).any():
        raise UserError(f"{file}: probabilities of {bad.sum():,} images do not sum to 1: {some(table['path'][bad])}")
    predictions = Predictions(table, logits, tuple(classes), tuple(positive))
    if (bad := (np.abs(predictions.probabilities - probabilities) > TOLERANCE).any(axis=1)).any():
        raise UserError(
            f"{file}: probabilities of {bad.sum():,} images are not those of their logits: {some(table['path'][bad])}"
        )
    return predictions
