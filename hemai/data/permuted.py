"""Labels permuted between groups, a negative control."""

from __future__ import annotations

import numpy as np
import pandas as pd

PERMUTED = (
    "WARNING, negative control: labels were permuted between {kind}s (data.permute_labels=true). Metrics should be "
    "those of chance; this network predicts nothing."
)


def permute_labels(table: pd.DataFrame, seed: int) -> pd.Series:
    """Give each group the labels of another, drawn by a permutation of the groups.

    All images of a group get the class of the other group. Where that one has images of several classes, its labels are
    given in random order, repeated or cut to the number of images.

    Args:
        table: Columns `label, group`.
        seed: Seed of the permutation.

    Returns:
        The new label of each row, with the index of `table`.
    """
    rng = np.random.default_rng(seed)
    groups = list(table.groupby("group", observed=True).indices.values())  # sorted by name
    labels = table["label"].to_numpy()
    permuted = labels.copy()
    for rows, other in zip(groups, rng.permutation(len(groups)), strict=True):
        permuted[rows] = np.resize(rng.permutation(labels[groups[other]]), len(rows))
    return pd.Series(permuted, table.index, name="label")
