"""Whether a network does more than measure the area of the cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from hemai.data.datamodule import CellDataModule
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import AREA, measure

SIMILAR = 1.1  # ratio of the areas of a pair
MIMICS = 0.8  # correlation with area from which a network says little else


def areas_of_test_images(modules: Sequence[CellDataModule]) -> pd.Series:
    """Cell area in pixels of all test images of some splits, by path; measured as for the shortcut baselines."""
    parts = []
    for data in modules:
        rows, area = data.rows["test"], measure(data.dataset, data.cache)[AREA][:, 0]
        parts.append(pd.Series(area[data.table["row"].to_numpy()[rows]], data.table["path"].iloc[rows].astype(str)))
    areas = pd.concat(parts)
    return areas[~areas.index.duplicated()]  # several splits may test an image


def auroc_given_area(predictions: Predictions, area: np.ndarray) -> pd.DataFrame:
    """AUROC among images of similar cell area.

    Args:
        predictions: Predictions of malignant and benign images.
        area: Cell area of each image, in pixels, shape (N,); images with an area of 0 or NaN are left out.

    Returns:
        One row per set of images (thirds of area, and pairs of a malignant and a benign image whose areas differ by at
        most 10 %): `images_of`, `malignant`, `benign` (numbers of images), `auroc`; NaN without both outcomes.
    """
    kept = np.nan_to_num(area) > 0
    size, score, malignant = area[kept], predictions.malignant_probability[kept], predictions.malignant[kept]
    third = np.searchsorted(np.quantile(size, [1 / 3, 2 / 3]), size)
    rows = []
    for number, name in enumerate(("smallest third", "middle third", "largest third")):
        part = third == number
        found = roc_auc_score(malignant[part], score[part]) if len(set(malignant[part])) == 2 else np.nan
        rows.append((name, int(malignant[part].sum()), int((~malignant[part]).sum()), found))
    rows.append(_similar_pairs(size, score, malignant))
    return pd.DataFrame(rows, columns=["images_of", "malignant", "benign", "auroc"])


def _similar_pairs(size: np.ndarray, score: np.ndarray, malignant: np.ndarray) -> tuple[str, int, int, float]:
    above = pairs = 0.0
    benign_used, malignant_used = np.zeros((~malignant).sum(), bool), 0
    for one_size, one_score in zip(size[malignant], score[malignant], strict=True):
        ratio = size[~malignant] / one_size
        similar = (ratio <= SIMILAR) & (ratio >= 1 / SIMILAR)
        others = score[~malignant][similar]
        above += (others < one_score).sum() + (others == one_score).sum() / 2
        pairs, malignant_used, benign_used = pairs + len(others), malignant_used + similar.any(), benign_used | similar
    return "pairs within 10 %", int(malignant_used), int(benign_used.sum()), above / pairs if pairs else np.nan


def area_correlations(predictions: Predictions, area: np.ndarray) -> dict[str, float]:
    """Correlation of the logit of malignancy with the logarithm of the cell area, within each class.

    Args:
        predictions: Predictions of images.
        area: As of `auroc_given_area`.

    Returns:
        Class -> Pearson's correlation; NaN with fewer than three images or where either is constant.
    """
    score = logit(np.clip(predictions.malignant_probability, 1e-12, 1 - 1e-12))
    correlations = {}
    for label in predictions.classes:
        part = (predictions.table["label"] == label).to_numpy() & (np.nan_to_num(area) > 0)
        one, other = score[part], np.log(area[part])
        varies = part.sum() > 2 and np.ptp(one) > 0 and np.ptp(other) > 0
        correlations[label] = float(np.corrcoef(one, other)[0, 1]) if varies else np.nan
    return correlations
