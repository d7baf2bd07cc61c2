"""Exact and near duplicates among images."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd

from hemai.data.datamodule import CellDataModule

COARSE, FINE = 16, 64  # px: candidate pairs are found at the first size, and verified at the second
NEAR = 3.0  # root mean square difference of pixel values, 0..255
CHUNK = 500


def find_duplicates(images: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Find pairs of identical files, and of images that differ by less than 3 grey levels (root mean square).

    Images are compared after averaging to 16 x 16 pixels, and candidate pairs again at 64 x 64. This finds an image
    that was compressed or resized again, but not another field of the same smear.

    Args:
        images: uint8, shape (N, height, width, 3), one for each row of `table`.
        table: Columns `path, label, split, content`.

    Returns:
        One row per pair: `kind` ("exact" or "near"), `first`, `second` (paths), `difference`, `classes_differ`,
        `splits_differ`.
    """
    coarse, fine = (
        np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).ravel() for image in images])
        for side in (COARSE, FINE)
    )
    content, label, split, path = (table[name].astype(str).to_numpy() for name in ("content", "label", "split", "path"))
    rows = []
    for one, other in _candidates(coarse.astype(np.float32)):
        difference = float(np.sqrt(np.mean((fine[one].astype(np.float32) - fine[other]) ** 2)))
        exact = content[one] == content[other]
        if exact or difference < NEAR:
            kind = "exact" if exact else "near"
            differ = (bool(label[one] != label[other]), bool(split[one] != split[other]))
            rows.append((kind, path[one], path[other], difference, *differ))
    columns = ["kind", "first", "second", "difference", "classes_differ", "splits_differ"]
    return pd.DataFrame(rows, columns=columns).astype({"classes_differ": bool, "splits_differ": bool})


def _candidates(pixels: np.ndarray) -> list[tuple[int, int]]:
    squares = (pixels**2).sum(axis=1)
    limit = NEAR**2 * pixels.shape[1]
    pairs = []
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        distance = squares[part, None] + squares - 2 * pixels[part] @ pixels.T
        one, other = np.nonzero(distance < limit)
        pairs += [(start + i, j) for i, j in zip(one.tolist(), other.tolist(), strict=True) if start + i < j]
    return pairs


def count_duplicates(data: CellDataModule) -> str:
    """Sentence with the numbers of exact and near duplicates; `data` must be set up."""
    pairs = find_duplicates(data.cache.images[data.table["row"].to_numpy()], data.table)
    parts = []
    for kind in ("exact", "near"):
        found = pairs[pairs["kind"] == kind]
        parts.append(
            f"{kind} duplicates: {len(found):,} pairs, {found['classes_differ'].sum():,} across classes, "
            f"{found['splits_differ'].sum():,} across splits"
        )
    return "; ".join(parts)
