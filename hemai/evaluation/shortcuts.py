"""Shortcut baselines: how well features that are not morphology separate the classes."""

from __future__ import annotations

import math
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
from hemai.evaluation.paired import paired_differences
from hemai.evaluation.predictions import Predictions, pool_predictions
from hemai.transforms import SegmentNucleus
from hemai.utils.terminal import track

AREA = "cell area"
SIMPLE = ("mean colour", "mean and spread of colour", AREA)  # of the cell; the other features are not
SIDE = 224  # px: side to which images are averaged for colour, corners and border
CORNER = (20, 48)  # px of SIDE: height and width of a corner, about the scale bar of the Iranian set
BORDER = 4  # px of SIDE
BLOCK = 4  # px: side of the blocks that are averaged in a corner
FEATURES = {
    "mean colour": "mean of red, green and blue",
    "mean and spread of colour": "mean and standard deviation of red, green and blue",
    AREA: "pixels of the segmented nuclei, or of the cell on a black background, and their fraction of the image",
    "border": f"mean colour of the outermost {BORDER} of {SIDE} pixels, per side",
    "corner, top left": "",
    "corner, top right": "",
    "corner, bottom left": "",
    "corner, bottom right": "",
    "image size": "height and width in pixels",
    "file size": "bytes",
    "file order": "last number in the file name",
}
MAJORITY, THIS_MODEL = "majority class", "this model"
# The main metrics over all images: recall or specificity alone does not rate a feature.
COMPARED = tuple(metric.name for metric in METRICS if metric.is_main and metric.rests_on is None)


def measure(dataset: CellDataset, cache: Cache) -> dict[str, np.ndarray]:
    """Shortcut features of all images of a data set, cached beside its prepared images.

    Returns:
        Name of `FEATURES` -> float64, shape (rows of the data set's table, values); NaN for unreadable images.
    """
    file = cache.folder / "shortcuts.npz"
    if file.is_file():
        with np.load(file) as stored:
            return dict(stored)
    readable = np.flatnonzero(cache.errors == "")
    paths = dataset.table["path"].to_numpy()
    features = {}
    for name, values in measure_files([dataset.root / paths[row] for row in readable]).items():
        features[name] = np.full((len(paths), values.shape[1]), np.nan)
        features[name][readable] = values
    with suppress(OSError):  # if the cache cannot be written, the features are measured again next time
        temporary = file.with_name(f"{os.getpid()}-{file.name}")
        np.savez(temporary, allow_pickle=False, **features)
        os.replace(temporary, file)
    return features


def measure_files(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Measure the shortcut features of image files, several at a time.

    Returns:
        Name of `FEATURES` -> float64, shape (files, values).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(track(pool.map(_measure, files), "measuring", total=len(files)))
    return {name: np.array([row[name] for row in rows], np.float64) for name in FEATURES}


def _measure(file: Path) -> dict[str, np.ndarray]:
    image = read_image(file, math.inf)  # the cache was read below a limit
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
    """Predict the test images from each shortcut feature, fitted on training and validation images.

    Returns:
        First the class frequencies in training as a constant prediction (`MAJORITY`), then each of `FEATURES` that is
        not constant.
    """
    rows = data.table["row"].to_numpy()[data.rows["test"]]
    features = {name: values[rows] for name, values in measure(data.dataset, data.cache).items()}
    table = data.table.iloc[data.rows["test"]][["path", "label", "group"]].astype(str).reset_index(drop=True)
    return _predict(data, features, table)


def external_feature_predictions(
    data: CellDataModule, dataset: CellDataset, table: pd.DataFrame
) -> dict[str, Predictions]:
    """Predict an external test set from each shortcut feature, fitted on images of the run.

    Args:
        data: Data of the run.
        dataset: External test set.
        table: `path, label, group` of its images, with the labels of the run.
    """
    paths = dataset.table["path"].tolist()
    cache = load_cache(dataset.name, dataset.root, paths, data.prepare, dataset.max_megapixels)
    rows = pd.Series(range(len(paths)), paths)[table["path"]].to_numpy()
    return _predict(data, {name: values[rows] for name, values in measure(dataset, cache).items()}, table)


def _predict(data: CellDataModule, features: dict[str, np.ndarray], table: pd.DataFrame) -> dict[str, Predictions]:
    counts = np.array(data.class_counts())
    fit = np.concatenate([data.rows[name] for name in ("train", "val") if name in data.rows])
    rows, targets = data.table["row"].to_numpy()[fit], data.targets[fit]
    logits = {MAJORITY: np.tile(np.log(np.maximum(counts, 1e-9) / counts.sum()), (len(table), 1))}
    for name, values in measure(data.dataset, data.cache).items():
        if np.ptp(values[rows], axis=0).max() == 0:
            continue  # constant: it predicts as the majority class does
        logits[name] = fit_logistic_regression(values[rows], targets, features[name], len(counts))
    classes, positive = tuple(data.dataset.classes), tuple(data.dataset.positive)
    return {name: Predictions(table, values, classes, positive) for name, values in logits.items()}


def shortcut_table(parts: Sequence[dict[str, Predictions]], model: Predictions | None = None) -> pd.DataFrame:
    """Tabulate metrics of each shortcut feature, over all test images of one or several splits.

    Args:
        parts: Results of `feature_predictions` for splits that test each image equally often.
        model: Predictions of a network for the same images, if it is compared.

    Returns:
        One row per feature that no split lacks: `feature`, then accuracy, balanced accuracy and (with positive classes)
        AUROC, each with `<metric>/low` and `<metric>/high`, for new groups. With a network also `<metric>/gain`, its
        metric less that of the feature, with limits from `paired_differences`; the network is the last row.
    """
    rows = []
    for name in (name for name in parts[0] if all(name in part for part in parts)):
        pooled = pool_predictions([part[name] for part in parts])
        row = {"feature": name, **_metrics(pooled)}
        gains = {} if model is None else paired_differences(pooled, model)
        for metric in (metric for metric in COMPARED if metric in gains):
            gain = gains[metric]
            row |= {f"{metric}/gain": gain.value, f"{metric}/gain/low": gain.low, f"{metric}/gain/high": gain.high}
        rows.append(row)
    return pd.DataFrame(rows if model is None else [*rows, {"feature": THIS_MODEL, **_metrics(model)}])


def _metrics(predictions: Predictions) -> dict[str, Any]:
    row: dict[str, float] = {}
    for name, interval in group_intervals(predictions).items():
        if name in COMPARED:
            row |= {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}
    return row


def ranking_metric(table: pd.DataFrame) -> str:
    """Metric by which features are compared: AUROC where it is defined, else accuracy."""
    return "auroc" if "auroc" in table and table["auroc"].notna().all() else "accuracy"


def fit_logistic_regression(features: np.ndarray, targets: np.ndarray, tested: np.ndarray, count: int) -> np.ndarray:
    """Fit a logistic regression on a few features, and compute the logits of test images.

    Args:
        features: Features of the images to fit, shape (N, values).
        targets: Class index of these images, shape (N,).
        tested: Features of the test images, shape (M, values).
        count: Number of classes.

    Returns:
        Logits, shape (M, count); -30 for a class that does not occur in `targets`.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(features, targets)
    logits = np.full((len(tested), count), -30.0)
    logits[:, model.classes_] = np.log(np.maximum(model.predict_proba(tested), np.exp(-30)))
    return logits
