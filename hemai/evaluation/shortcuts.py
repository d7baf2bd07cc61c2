"""How well what is no morphology tells the classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hemai.data import CellDataModule, CellDataset
from hemai.data.cache import load_cache
from hemai.evaluation.features import measure
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.predictions import Predictions
from hemai.metrics import METRICS

CHANCE, NETWORK = "chance: the largest class", "the network"
# The main metrics that rest on all images: recall or specificity alone says nothing of a feature.
COMPARED = tuple(metric.name for metric in METRICS if metric.is_main and metric.rests_on is None)


def feature_predictions(data: CellDataModule) -> dict[str, Predictions]:
    """What each feature says of the test images: fitted on training and validation images.

    Returns:
        First the share of each training class as a guess (`CHANCE`), then one for each of `features.FEATURES`.
    """
    rows = data.table["row"].to_numpy()[data.rows["test"]]
    features = {name: values[rows] for name, values in measure(data.dataset, data.cache).items()}
    table = data.table.iloc[data.rows["test"]][["path", "label", "group"]].astype(str).reset_index(drop=True)
    return _predict(data, features, table)


def feature_predictions_elsewhere(
    data: CellDataModule, dataset: CellDataset, table: pd.DataFrame
) -> dict[str, Predictions]:
    """The same for images of another data set, still fitted on those of the run.

    Args:
        data: Of the run.
        dataset: The other.
        table: `path, label, group` of its images, with the labels of the run.
    """
    paths = dataset.table["path"].tolist()
    cache = load_cache(dataset.name, dataset.root, paths, data.prepare)
    rows = pd.Series(range(len(paths)), paths)[table["path"]].to_numpy()
    return _predict(data, {name: values[rows] for name, values in measure(dataset, cache).items()}, table)


def _predict(data: CellDataModule, features: dict[str, np.ndarray], table: pd.DataFrame) -> dict[str, Predictions]:
    counts = np.array(data.class_counts())
    fit = np.concatenate([data.rows[name] for name in ("train", "val") if name in data.rows])
    rows, targets = data.table["row"].to_numpy()[fit], data.targets[fit]
    logits = {CHANCE: np.tile(np.log(np.maximum(counts, 1e-9) / counts.sum()), (len(table), 1))}
    for name, values in measure(data.dataset, data.cache).items():
        logits[name] = logits_from(values[rows], targets, features[name], len(counts))
    classes, positive = tuple(data.dataset.classes), tuple(data.dataset.positive)
    return {name: Predictions(table, values, classes, positive) for name, values in logits.items()}


def shortcut_table(parts: Sequence[dict[str, Predictions]]) -> pd.DataFrame:
    """How well each feature tells the classes apart, over all test images of one or several splits.

    Args:
        parts: As of `feature_predictions`, of splits that test no image twice; a network may stand in them too.

    Returns:
        One row a feature: `feature`, then accuracy, balanced accuracy and (with positive classes) AUROC, each with
        `<figure>/low` and `<figure>/high`, for new groups.
    """
    rows = []
    for name in parts[0]:
        table = pd.concat([part[name].table[["path", "label", "group"]] for part in parts], ignore_index=True)
        logits = np.concatenate([part[name].logits for part in parts])
        pooled = Predictions(table, logits, parts[0][name].classes, parts[0][name].positive)
        intervals = group_intervals(pooled)
        row: dict[str, Any] = {"feature": name}
        for figure in (figure for figure in COMPARED if figure in intervals):
            found = intervals[figure]
            row |= {figure: found.value, f"{figure}/low": found.low, f"{figure}/high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def ranking(table: pd.DataFrame) -> str:
    """The figure by which features are compared: AUROC where it is defined, else accuracy."""
    return "auroc" if "auroc" in table and table["auroc"].notna().all() else "accuracy"


def logits_from(features: np.ndarray, targets: np.ndarray, tested: np.ndarray, count: int) -> np.ndarray:
    """Logits of test images from a logistic regression on a few numbers, fitted on other images.

    Args:
        features: Of the images that are fitted, shape (N, numbers).
        targets: Of them, shape (N,).
        tested: Features of the test images, shape (M, numbers).
        count: Classes.

    Returns:
        Shape (M, count); a class without fitted images has no chance.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(features, targets)
    logits = np.full((len(tested), count), -30.0)
    logits[:, model.classes_] = model.predict_log_proba(tested)
    return logits
