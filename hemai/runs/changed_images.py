"""Images whose content changed since a run."""

from __future__ import annotations

import pandas as pd

from hemai.data.datamodule import CellDataModule
from hemai.utils.errors import UserError, shorten


class ChangedImagesError(UserError):
    """Images that are not those of the run, under the same names."""


def check_contents(splits: pd.DataFrame, data: CellDataModule) -> None:
    """Refuse images with another content than when the run started.

    Args:
        splits: `splits.csv` of the run, as text: columns `path` and, unless an earlier version wrote it, `crc32`.
        data: The images now, set up. Images that were added or removed are not considered.

    Raises:
        ChangedImagesError: The message names the images.
    """
    if "crc32" not in splits:
        return
    both = data.table[["path", "crc32"]].astype(str).merge(splits[["path", "crc32"]], on="path")
    if len(changed := both["path"][both["crc32_x"] != both["crc32_y"]]):
        raise ChangedImagesError(
            f"{len(changed):,} image{'s' * (len(changed) > 1)} under {data.dataset.root} changed since the run: "
            f"{shorten(changed)}; restore them, or start a new run"
        )
