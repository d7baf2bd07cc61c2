"""How well the patient of an image can be told from the features of a network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler


def identify_groups(features: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Tell the group of each image as that of the most similar other image of its class.

    Args:
        features: Features of the images, shape (N, features); each is scaled to unit variance.
        table: Columns `label, group` of the images.

    Returns:
        One row per class with several groups, and `all classes`: `label`, `groups`, `images`, `identified` (fraction of
        images whose nearest neighbour is of their group), `chance` (fraction of the largest group). Without such a
        class, or where every image is a group of its own, an empty table.
    """
    table = table[["label", "group"]].astype(str).reset_index(drop=True)
    rows = []
    for label, of_class in table.groupby("label"):
        sizes = of_class["group"].value_counts()
        if len(sizes) == 1 or sizes.iloc[0] == 1:
            continue
        scaled = StandardScaler().fit_transform(features[of_class.index])
        nearest = NearestNeighbors(n_neighbors=1).fit(scaled).kneighbors(return_distance=False)[:, 0]  # not itself
        groups = of_class["group"].to_numpy()
        is_found = groups[nearest] == groups
        rows.append((label, len(sizes), len(groups), is_found.mean(), sizes.iloc[0] / len(groups)))
    found = pd.DataFrame(rows, columns=["label", "groups", "images", "identified", "chance"])
    if len(found) < 2:
        return found
    means = [np.average(found[name], weights=found["images"]) for name in ("identified", "chance")]
    found.loc[len(found)] = ["all classes", found["groups"].sum(), found["images"].sum(), *means]
    return found
