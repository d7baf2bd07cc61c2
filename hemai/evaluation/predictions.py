"""Predictions of a set of images; all metrics are computed from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from hemai.evaluation.metrics import compute_metrics, confusion_matrix
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import csv_text

COLUMNS = ("path", "label", "group")
OPERATING_POINT = ("threshold", "temperature", "abstain_below")
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
        network: Index of the network that predicted each image, shape (N,), where several were tested on images of
            their own; the AUROC then compares images of one network. None: one network.
        repeats: Number of networks that predicted each image, each in a row of its own: the repetitions of a
            cross-validation. Metrics are means over them, and intervals count an image once.
        abstain_below: Confidence below which the network abstains, one number or shape (N,); None: not chosen.

    Raises:
        UserError: Attributes that do not fit each other, unknown names, or values out of range.
    """

    table: pd.DataFrame
    logits: np.ndarray
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    threshold: float | np.ndarray | None = None
    temperature: float | np.ndarray | None = None
    group_kind: str = "patient"
    network: np.ndarray | None = None
    repeats: int = 1
    abstain_below: float | np.ndarray | None = None

    def __post_init__(self) -> None:
        check_predictions(self)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.table) // self.repeats

    @property
    def networks(self) -> int:
        """Number of networks that were tested on images of their own."""
        return 1 if self.network is None else len(np.unique(self.network))

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

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, after temperature scaling if there is a temperature, shape (N,)."""
        return (self.calibrated or self).probabilities.max(axis=1)

    @property
    def abstained(self) -> np.ndarray | None:
        """Whether the network abstains on each image, bool, shape (N,); None without `abstain_below` or temperature."""
        if self.abstain_below is None or self.temperature is None:
            return None
        return np.asarray(self.confidence < self.abstain_below)

    def to_csv(self) -> str:
        """CSV text at full precision: `path, label, group, predicted`, `probability/<class>` and `logit/<class>`."""
        table = self.table[list(COLUMNS)].astype(str).reset_index(drop=True)
        table["predicted"] = self.predicted
        for kind, values in (("probability", self.probabilities), ("logit", self.logits)):
            for target, label in enumerate(self.classes):
                table[f"{kind}/{label}"] = values[:, target]
        return csv_text(table)

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


def pool_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Pool the predictions of several networks, each of images that it did not train on.

    Each image keeps the threshold and temperature of its network; a value that one part lacks is dropped for all.

    Raises:
        UserError: Images that do not occur equally often.
    """
    if len(parts) == 1:
        return parts[0]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    counts = table["path"].value_counts()
    if (repeats := counts.min()) < counts.max():
        more = counts.index[counts > repeats]
        raise UserError(
            f"{len(more):,} images were tested by more of these runs than others ({shorten(more, 2)}), so these "
            "are not the folds of one cross-validation or its repeats; name images with data=... data.root=... for an "
            "ensemble, or evaluate the runs one by one"
        )
    sizes = [len(part.table) for part in parts]
    point: dict[str, Any] = {}
    for name in OPERATING_POINT:
        values = [getattr(part, name) for part in parts]
        point[name] = None if None in values else np.repeat(np.array(values, float), sizes)
    logits, network = np.concatenate([part.logits for part in parts]), np.repeat(np.arange(len(parts)), sizes)
    return replace(parts[0], table=table, logits=logits, network=network, repeats=int(repeats), **point)


def check_predictions(predictions: Predictions) -> None:
    """Refuse predictions whose parts do not fit each other.

    Raises:
        UserError: The message names the attribute, what was found and what is expected.
    """
    table, logits, classes, positive = predictions.table, predictions.logits, predictions.classes, predictions.positive
    for name, value in (("classes", classes), ("positive", positive)):
        if isinstance(value, str):
            raise UserError(f"{name}={value!r}: expected a tuple of class names")
    if len(set(classes)) < max(2, len(classes)):
        raise UserError(f"classes={tuple(classes)}: expected two different class names or more")
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
    ranges["abstain_below"] = ranges["threshold"]
    for name, (low, high, expected) in ranges.items():
        if (value := getattr(predictions, name)) is None:
            continue
        values = np.asarray(value)
        is_number = values.dtype.kind in "fiu" and values.shape in ((), (len(table),))
        if not is_number or not ((values >= low) & (values <= high)).all():
            raise UserError(f"{name}={value}: expected a number {expected}, or one for each image")
    if predictions.repeats < 1 or len(table) % predictions.repeats:
        raise UserError(f"repeats={predictions.repeats}: expected a divisor of the {len(table):,} rows")
    if predictions.group_kind not in GROUP_KINDS:
        kind, known = predictions.group_kind, ", ".join(GROUP_KINDS)
        raise UserError(f"group_kind={kind!r}{did_you_mean(str(kind), GROUP_KINDS)} (expected {known})")
