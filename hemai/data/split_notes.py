"""What lacks in the splits of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hemai.data.dataset import CellDataset
from hemai.utils.errors import UserError, shorten


def note_missing(dataset: CellDataset, rule: str, rows: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
    """Note splits without images, and classes without images in a split, in `dataset.notes`.

    Args:
        dataset: Data set that was split.
        rule: How it was split, for the message.
        rows: Name of a split -> positions of its images.
        targets: Class index of each image.

    Raises:
        UserError: A class has no training image.
    """
    for name, consequence in (
        ("val", "the best epoch is not chosen on unseen images"),
        ("test", f"nothing is tested on new {dataset.group_kind}s"),
    ):
        if name not in rows:
            dataset.notes.append(f"no image is in {name}: {consequence}")
    for name, of_split in rows.items():
        missing = [label for target, label in enumerate(dataset.classes) if target not in targets[of_split]]
        if missing and name == "train":
            raise UserError(f"data.split={rule}: no training image of class {shorten(missing)}")
        if missing:
            dataset.notes.append(f"no image of class {shorten(missing)} in {name}: not covered by its metrics")
