"""Predictions of a set of images, and the files that store them; all metrics are computed from these."""

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
GROUP_KINDS = ("patient", "block", "image")


@dataclass(frozen=True)
class Predictions:
    """Logits of a set of images, with labels and groups.

    Attributes:
        table: One row per image: `path, label, group` and further columns; only `path` for unlabelled images.
        logits: float64, shape (N, classes).
        classes: Class names; the position is the target.
        positive: Malignant classes.
        threshold: Probability of malignancy from which an image is predicted malignant, chosen on validation: one
            number, or shape (N,) where several networks were tested on images of their own; None: not chosen.
        temperature: Divisor of the logits that calibrates the probabilities, likewise.
        group_kind: What a group is: "patient", "block" or "image".

    Raises:
        UserError: Attributes that do not fit each other, unknown names, or values out of range.
        network: Index of the network that predicted each image, shape (N,), where several were tested on images of
            their own; the AUROC then compares images of one network. None: one network.
    """

    table: pd.DataFrame
    logits: np.ndarray
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    threshold: float | np.ndarray | None = None
    temperature: float | np.ndarray | None = None
    group_kind: str = "patient"
    network: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_predictions(self)

    @property
    def targets(self) -> np.ndarray:
        """Class index of each image, int64, shape (N,)."""
        return np.asarray(self.table["label"].map({label: i for i, label in enumerate(self.classes)}), np.int64)

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each class, float64, shape (N, classes)."""
        return np.asarray(softmax(self.logits, axis=1))

    @property
    def predicted(self) -> list[str]:
        """Name of the most probable class of each image."""
        return [self.classes[target] for target in self.logits.argmax(axis=1)]

    @property
    def malignant_probability(self) -> np.ndarray:
        """Probability of malignancy, summed over the positive classes, shape (N,)."""
        return self.probabilities[:, [self.classes.index(label) for label in self.positive]].sum(axis=1)

    @property
    def malignant(self) -> np.ndarray:
        """Whether the true class of each image is malignant, bool, shape (N,)."""
        return np.asarray(self.table["label"].isin(self.positive), bool)

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is predicted correctly, bool, shape (N,)."""
        return self.logits.argmax(axis=1) == self.targets

    @property
    def calibrated(self) -> Predictions | None:
        """The predictions after temperature scaling; None without a temperature."""
        if self.temperature is None:
            return None
        return replace(self, logits=self.logits / np.reshape(self.temperature, (-1, 1)), temperature=None)

    def to_csv(self) -> str:
        """CSV text at full precision: `path, label, group, predicted`, `probability/<class>` and `logit/<class>`."""
        table = self.table[list(COLUMNS)].astype(str).reset_index(drop=True)
        table["predicted"] = self.predicted
        for kind, values in (("probability", self.probabilities), ("logit", self.logits)):
            for target, label in enumerate(self.classes):
                table[f"{kind}/{label}"] = values[:, target]
        return table.to_csv(index=False)

    def metrics(self) -> dict[str, float]:
        """All metrics, computed as in training; see `hemai.evaluation.metrics.compute_metrics`."""
        return compute_metrics(torch.tensor(self.logits), torch.tensor(self.targets), self.classes, self.positive)

    def confusion_matrix(self) -> torch.Tensor:
        """Confusion matrix, int64, shape (classes, classes): rows are true classes, columns predicted ones."""
        return confusion_matrix(torch.tensor(self.logits), torch.tensor(self.targets), len(self.classes))

    def group_codes(self) -> tuple[np.ndarray, list[str]]:
        """Group index of each image, shape (N,), and the group names, sorted."""
        codes, names = pd.factorize(self.table["group"], sort=True)
        return codes, list(names)


def check_predictions(predictions: Predictions) -> None:
    """Refuse predictions whose parts do not fit each other.

    Raises:
        UserError: The message names the attribute, what was found and what is expected.
    """
    table, logits, classes, positive = predictions.table, predictions.logits, predictions.classes, predictions.positive
    for name, value in (("classes", classes), ("positive", positive)):
        if isinstance(value, str):
            raise UserError(f"{name}={value!r}: expected a tuple of class names")
    if unknown := [label for label in positive if label not in classes]:
        raise UserError(f"positive: unknown class {shorten(unknown)} (expected some of {shorten(classes)})")
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise UserError(f"table: found {type(table).__name__} of {len(table)} rows, expected one row per image")
    shape = (len(table), len(classes))
    if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f" or logits.shape != shape:
        found = f"{getattr(logits, 'dtype', '')} {getattr(logits, 'shape', type(logits).__name__)}".strip()
        raise UserError(f"logits: found {found}, expected a float array of shape {shape}: images, classes")
    if not np.isfinite(logits).all():
        raise UserError("logits: found NaN or infinite values, expected finite numbers")
    if not {"path", "label"} & set(table.columns):
        found = shorten(map(str, table.columns))
        raise UserError(f"table: found columns {found}; expected {', '.join(COLUMNS)}, or path alone")
    if "label" in table.columns and (unknown := sorted(set(map(str, table["label"].unique())) - set(classes))):
        hint = did_you_mean(unknown[0], classes)
        raise UserError(f"table: unknown class {shorten(unknown)}{hint} (expected {shorten(classes)})")
    if "group" in table.columns and table["group"].isna().any():
        raise UserError(f"table: {table['group'].isna().sum():,} rows without group; complete or remove them")
    ranges = {"threshold": (0, 1, "from 0 to 1"), "temperature": (np.finfo(float).tiny, np.inf, "above 0")}
    for name, (low, high, expected) in ranges.items():
        if (value := getattr(predictions, name)) is None:
            continue
        values = np.asarray(value)
        is_number = values.dtype.kind in "fiu" and values.shape in ((), (len(table),))
        if not is_number or not ((values >= low) & (values <= high)).all():
            raise UserError(f"{name}={value}: expected a number {expected}, or one for each image")
    if predictions.group_kind not in GROUP_KINDS:
        kind, known = predictions.group_kind, ", ".join(GROUP_KINDS)
        raise UserError(f"group_kind={kind!r}{did_you_mean(str(kind), GROUP_KINDS)} (expected {known})")


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
