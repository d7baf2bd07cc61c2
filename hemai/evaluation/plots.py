"""Plots of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hemai.data.images import read_image
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import THIS_MODEL
from hemai.utils.pictures import draw_sheet

BLUE, ORANGE, GREY = "#1f77b4", "#d95f02", "#777777"
RESAMPLES = 500
SHOWN = 40  # groups of a picture
POINTS = np.linspace(0, 1, 101)
SHEET = 32  # images of a sheet


def draw_reliability(bins: pd.DataFrame, calibrated: pd.DataFrame | None = None) -> Figure:
    """Accuracy against confidence: on the diagonal a probability means what it says.

    Args:
        bins: As of `hemai.evaluation.calibration.reliability`.
        calibrated: The same after temperature scaling.
    """
    figure, axes = _square("confidence (probability of the predicted class)", "accuracy")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="calibrated")
    named = [(bins, BLUE, "of the network")]
    if calibrated is not None:
        named.append((calibrated, ORANGE, "after temperature scaling"))
    for table, colour, label in named:
        sizes = 10 + 400 * table["images"] / table["images"].sum()
        axes.scatter(table["confidence"], table["accuracy"], s=sizes, color=colour, alpha=0.6, linewidth=0)
        axes.plot(table["confidence"], table["accuracy"], color=colour, label=label)
    _add_legend(figure)
    return figure


def draw_risk_coverage(table: pd.DataFrame) -> Figure:
    """Accuracy against the fraction of images that are answered."""
    figure, axes = _square("fraction of images answered, the surest first", "accuracy of the answers")
    axes.plot(table["coverage"], table["accuracy"], color=BLUE, marker="o", markersize=3)
    axes.set_ylim(min(0.5, table["accuracy"].min() - 0.02), 1.005)
    return figure


def draw_groups(groups: pd.DataFrame, kind: str) -> Figure:
    """Fraction of correct images of each group, worst first, by class."""
    shown = groups.head(SHOWN)
    figure = Figure(figsize=(4.8, 1.4 + 0.2 * max(4, len(shown))), layout="constrained", dpi=120)
    axes = figure.subplots()
    labels = sorted(shown["label"].unique())
    for label, colour in zip(labels, (BLUE, ORANGE, "#1b9e77", "#7570b3", *[GREY] * len(labels)), strict=False):
        rows = shown[shown["label"] == label]
        axes.barh(rows.index, rows["accuracy"], color=colour, alpha=0.35)
        axes.plot(rows["accuracy"], rows.index, "o", color=colour, markersize=4, label=label)
    names = [f"{group} ({images})" for group, images in zip(shown["group"], shown["images"], strict=True)]
    axes.set_yticks(range(len(shown)), names, fontsize=7, parse_math=False)
    axes.set(xlabel="fraction of its images predicted correctly", ylabel=f"{kind} (images)", xlim=(0, 1.02))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    _add_legend(figure)
    return figure


def draw_shortcuts(table: pd.DataFrame, figure_name: str, kind: str) -> Figure:
    """One figure of each feature, with its interval.

    Args:
        table: As of `hemai.evaluation.shortcuts.shortcut_table`.
        figure_name: Column.
        kind: What a group is.
    """
    figure = Figure(figsize=(4.8, 1.0 + 0.27 * len(table)), layout="constrained", dpi=120)
    axes = figure.subplots()
    places, values = np.arange(len(table)), table[figure_name].to_numpy(float)
    sides = np.abs(table[[f"{figure_name}/low", f"{figure_name}/high"]].to_numpy(float).T - values)
    is_network = (table["feature"] == THIS_MODEL).to_numpy()
    for rows, colour in ((~is_network, BLUE), (is_network, ORANGE)):
        axes.errorbar(values[rows], places[rows], xerr=np.nan_to_num(sides[:, rows]), fmt="o", color=colour, capsize=2)
    axes.set_yticks(places, table["feature"], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=f"{figure_name.upper() if figure_name == 'auroc' else figure_name} (bars: 95 % for new {kind}s)")
    axes.set_xlim(min(0.3, np.nanmin(values) - 0.05), 1.02)
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_roc(predictions: Predictions, seed: int = 0) -> Figure:
    """Sensitivity against 1 - specificity, with the band in which 95 % of resamples of groups lie."""
    figure, axes = _square(
        "1 - specificity (benign images predicted malignant)", "sensitivity (malignant images found)"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    _draw_band(axes, predictions, seed, lambda found, wrong: np.interp(POINTS, wrong / wrong[-1], found / found[-1]))
    _add_legend(figure)
    return figure


def draw_precision_recall(predictions: Predictions, seed: int = 0) -> Figure:
    """Precision against sensitivity, with the band in which 95 % of resamples of groups lie."""

    def precision(found: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        # At the first threshold that finds so many; before any is found, at that which finds the first.
        at = np.searchsorted(found, np.maximum(POINTS * found[-1] - 1e-9, 1e-9))
        return found[at] / (found[at] + wrong[at])

    figure, axes = _square("sensitivity (malignant images found)", "precision (of images predicted malignant)")
    axes.axhline(predictions.malignant.mean(), color=GREY, linestyle=":", label="chance")
    _draw_band(axes, predictions, seed, precision)
    _add_legend(figure)
    return figure


def _draw_band(
    axes: Axes,
    predictions: Predictions,
    seed: int,
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Draw a curve of all images, and the band of resamples of groups.

    Groups are drawn with replacement among those with malignant images and among the others, so that each resample
    has both.

    Args:
        axes: To draw on.
        predictions: With malignant and benign images.
        seed: Of the resamples.
        curve: From the malignant and the benign images called malignant as the threshold falls, counted from 0, to
            the values at `POINTS`.
    """
    codes, names = predictions.group_codes()
    holds = np.bincount(codes[predictions.malignant], minlength=len(names)) > 0
    rng = np.random.default_rng(seed)
    counts = np.zeros((RESAMPLES, len(names)))
    for part in (np.flatnonzero(holds), np.flatnonzero(~holds)):
        if len(part):
            counts[:, part] = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), RESAMPLES)
    whole = _curves(np.ones((1, len(codes))), predictions, curve)
    holds_benign = np.bincount(codes[~predictions.malignant], minlength=len(names)) > 0
    if min(holds.sum(), holds_benign.sum()) > 1:
        band = np.nanquantile(_curves(counts[:, codes], predictions, curve), (0.025, 0.975), axis=0)
        axes.fill_between(
            POINTS, *band, color=BLUE, alpha=0.2, linewidth=0, label=f"95 % of resamples of {predictions.group_kind}s"
        )
    axes.plot(POINTS, whole[0], color=BLUE, label="all images")


def _curves(
    weights: np.ndarray, predictions: Predictions, curve: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The curve of each weighting, shape (weightings, points); NaN where it has but one kind of images."""
    malignant, score = predictions.malignant, predictions.malignant_probability
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each run of equal scores
    found = (weights[:, order] * malignant[order]).cumsum(axis=1)[:, last]
    wrong = (weights[:, order] * ~malignant[order]).cumsum(axis=1)[:, last]
    curves = np.full((len(weights), len(POINTS)), np.nan)
    for row in np.flatnonzero((found[:, -1] > 0) & (wrong[:, -1] > 0)):
        curves[row] = curve(*(np.append(0.0, counts[row]) for counts in (found, wrong)))
    return curves


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 4.6), layout="constrained", dpi=120)
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    return figure, axes


def _add_legend(figure: Figure) -> None:
    """Above the plot, where it covers nothing; a class name may hold a $."""
    legend = figure.legend(frameon=False, ncols=2, loc="outside upper center", fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_errors(predictions: Predictions, root: Path, title: str) -> Figure:
    """The wrongly predicted images with the highest confidence, as they lie on the disk.

    Args:
        predictions: Of images below `root`; those that cannot be read any more are left out.
        root: Folder of the images.
        title: What images these are.
    """
    confidence, wrong = predictions.probabilities.max(axis=1), np.flatnonzero(~predictions.right)
    images, captions = [], []
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")][:SHEET]:
        path, label, group = (str(predictions.table[name].iloc[row]) for name in ("path", "label", "group"))
        with suppress(OSError, ValueError):
            images.append(read_image(root / path))
            group = "" if group == path else f"{group}: "
            captions.append(f"{group}{label}, predicted\n{predictions.predicted[row]} {confidence[row]:.0%}")
    heading = f"{title}: {len(wrong):,} of {len(confidence):,} images are wrong; the most confident errors"
    return draw_sheet(images, captions, heading)
