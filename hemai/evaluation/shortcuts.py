"""Shortcut baselines: how well features that are not morphology separate the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hemai.data.cache import Cache, load_cache
from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.data.images import read_image
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.metrics import METRICS
from hemai.evaluation.predictions import Predictions
from hemai.transforms import SegmentNucleus
from hemai.utils.terminal import track

AREA = "cell area"
SIDE = 224  # px to which images are averaged for colour, corners and border
CORNER = (20, 48)  # px of SIDE: height and width of a corner, about the scale bar of the Iranian set
BORDER = 4  # px of SIDE
BLOCK = 4  # px of a corner that are averaged to one
FEATURES = {
    "mean colour": "mean of red, green and blue",
    "mean and spread of colour": "mean and standard deviation of red, green and blue",
    AREA: "pixels of the segmented nuclei, or of the cell where it lies on black; and their share of the image",
    "border": f"mean colour of the outermost {BORDER} of {SIDE} pixels, each side for itself",
    "corner, top left": "",
    "corner, top right": "",
    "corner, bottom left": "",
    "corner, bottom right": "",
    "image size": "height and width in pixels",
    "file size": "bytes",
    "file order": "the last number in the file's name",
}
MAJORITY, THIS_MODEL = "majority class", "this model"
# The main metrics that rest on all images: recall or specificity alone says nothing of a feature.
COMPARED = tuple(metric.name for metric in METRICS if metric.is_main and metric.rests_on is None)


def measure(dataset: CellDataset, cache: Cache) -> dict[str, np.ndarray]:
    """Features of all images of a data set, kept beside its prepared images.

    Returns:
        Name of `FEATURES` -> float64, shape (rows of the data set's table, numbers); NaN for unreadable images.
    """
    file = cache.folder / "shortcuts.npz"
    if file.is_file():
        with np.load(file) as stored:
            return dict(stored)
    readable = np.flatnonzero(cache.errors == "")
    paths = dataset.table["path"].to_numpy()
    found = {}
    for name, values in measure_files([dataset.root / paths[row] for row in readable]).items():
        found[name] = np.full((len(paths), values.shape[1]), np.nan)
        found[name][readable] = values
    with suppress(OSError):  # a cache that cannot be written is measured again next time
        part = file.with_name(f"{os.getpid()}-{file.name}")
        np.savez(part, allow_pickle=False, **found)
        os.replace(part, file)
    return found


def measure_files(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Measure images, several at a time.

    Returns:
        Name of `FEATURES` -> float64, shape (files, numbers).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(track(pool.map(_measure, files), "measuring", total=len(files)))
    return {name: np.array([row[name] for row in rows], np.float64) for name in FEATURES}


def _measure(file: Path) -> dict[str, np.ndarray]:
    image = read_image(file)
    area = float(SegmentNucleus().segment(image).mask.sum())
    pixels = image.shape[0] * image.shape[1]
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean, spread = small.mean(axis=(0, 1)), small.std(axis=(0, 1))
    height, width = CORNER
    sides = (small[:BORDER], small[-BORDER:], small[:, :BORDER], small[:, -BORDER:])
    numbers = re.findall(r"\d+", file.stem)
    return {
        "mean colour": mean,
        "mean and spread of colour": np.append(mean, spread),
        "cell area": np.array([area, area / pixels]),
        "border": np.concatenate([side.mean(axis=(0, 1)) for side in sides]),
        "corner, top left": _blocks(small[:height, :width]),
        "corner, top right": _blocks(small[:height, -width:]),
        "corner, bottom left": _blocks(small[-height:, :width]),
        "corner, bottom right": _blocks(small[-height:, -width:]),
        "image size": np.array(image.shape[:2]),
        "file size": np.array([file.stat().st_size]),
        "file order": np.array([int(numbers[-1][-9:]) if numbers else 0]),
    }


def _blocks(corner: np.ndarray) -> np.ndarray:
    height, width = (length // BLOCK for length in corner.shape[:2])
    return corner.reshape(height, BLOCK, width, BLOCK, 3).mean(axis=(1, 3)).ravel()


def feature_predictions(data: CellDataModule) -> dict[str, Predictions]:
    """What each feature says of the test images: fitted on training and validation images.

    Returns:
        First the share of each training class as a guess (`MAJORITY`), then one for each of `FEATURES`.
    """
    rows = data.table["row"].to_numpy()[data.rows["test"]]
    features = {name: values[rows] for name, values in measure(data.dataset, data.cache).items()}
    table = data.table.iloc[data.rows["test"]][["path", "label", "group"]].astype(str).reset_index(drop=True)
    return _predict(data, features, table)


def external_feature_predictions(
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
    logits = {MAJORITY: np.tile(np.log(np.maximum(counts, 1e-9) / counts.sum()), (len(table), 1))}
    for name, values in measure(data.dataset, data.cache).items():
        logits[name] = fit_logistic_regression(values[rows], targets, features[name], len(counts))
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


def ranking_metric(table: pd.DataFrame) -> str:
    """The figure by which features are compared: AUROC where it is defined, else accuracy."""
    return "auroc" if "auroc" in table and table["auroc"].notna().all() else "accuracy"


def fit_logistic_regression(features: np.ndarray, targets: np.ndarray, tested: np.ndarray, count: int) -> np.ndarray:
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
    logits[:, model.classes_] = np.log(np.maximum(model.predict_proba(tested), np.exp(-30)))
    return logits
