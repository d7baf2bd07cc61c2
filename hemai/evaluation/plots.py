"""Plots of an evaluation."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from hemai.data.images import read_image
from hemai.evaluation.clinical import net_benefit
from hemai.evaluation.curve_bands import likely_rates, precision_band, roc_band
from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import THIS_MODEL
from hemai.utils.pictures import Plot, draw_sheet

BLUE, ORANGE, GREY = "#1f77b4", "#d95f02", "#777777"
SHOWN = 40  # groups per plot
POINTS = np.linspace(0, 1, 101)
FEWEST_FOUND = 0.1  # sensitivity from which precision has a band; below it a few images decide
SHEET = 32  # images per contact sheet


def draw_reliability(bins: pd.DataFrame, calibrated: pd.DataFrame | None = None) -> Figure:
    """Draw the reliability diagram: accuracy against confidence; calibrated probabilities lie on the diagonal.

    Args:
        bins: Table of `hemai.evaluation.calibration.reliability`.
        calibrated: The same table after temperature scaling.
    """
    figure, axes = _square("confidence (probability of the predicted class)", "accuracy")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect calibration")
    curves = [(bins, BLUE, "network")]
    if calibrated is not None:
        curves.append((calibrated, ORANGE, "after temperature scaling"))
    for table, colour, label in curves:
        sizes = 10 + 400 * table["images"] / table["images"].sum()
        axes.scatter(table["confidence"], table["accuracy"], s=sizes, color=colour, alpha=0.6, linewidth=0)
        axes.plot(table["confidence"], table["accuracy"], color=colour, label=label)
    _add_legend(figure)
    return figure


def draw_risk_coverage(table: pd.DataFrame) -> Figure:
    """Draw the risk-coverage curve: accuracy against the fraction of most confident predictions kept."""
    figure, axes = _square("coverage (fraction of images kept, most confident first)", "accuracy of the images kept")
    axes.plot(table["coverage"], table["accuracy"], color=BLUE, marker="o", markersize=3)
    axes.set_ylim(min(0.5, table["accuracy"].min() - 0.02), 1.005)
    return figure


def draw_groups(groups: pd.DataFrame, kind: str) -> Figure:
    """Draw the accuracy of each group, worst first, coloured by class."""
    shown = groups.head(SHOWN)
    figure = Plot(4.8, 1.4 + 0.2 * max(4, len(shown)))
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


def draw_shortcuts(table: pd.DataFrame, metric: str, kind: str) -> Figure:
    """Draw one metric of each shortcut feature, with its interval.

    Args:
        table: Table of `hemai.evaluation.shortcuts.shortcut_table`.
        metric: Column of the table.
        kind: What a group is: "patient", "block" or "image".
    """
    figure = Plot(4.8, 1.0 + 0.27 * len(table))
    axes = figure.subplots()
    positions, values = np.arange(len(table)), table[metric].to_numpy(float)
    errors = np.abs(table[[f"{metric}/low", f"{metric}/high"]].to_numpy(float).T - values)
    is_model = (table["feature"] == THIS_MODEL).to_numpy()
    for rows, colour in ((~is_model, BLUE), (is_model, ORANGE)):
        xerr = np.nan_to_num(errors[:, rows])
        axes.errorbar(values[rows], positions[rows], xerr=xerr, fmt="o", color=colour, capsize=2)
    axes.set_yticks(positions, table["feature"], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=f"{metric.upper() if metric == 'auroc' else metric} (bars: 95 % for new {kind}s)")
    axes.set_xlim(min(0.3, np.nanmin(values) - 0.05), 1.02)
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_roc(predictions: Predictions) -> Figure:
    """Draw the ROC curve, with a band for new groups unless a class has fewer than five."""
    figure, axes = _square(
        "1 - specificity (benign images predicted malignant)", "sensitivity (malignant images found)"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    false_positives, sensitivity, _ = roc_curve(
        predictions.malignant, predictions.malignant_probability, drop_intermediate=False
    )
    curve, rates = np.interp(POINTS, false_positives, sensitivity), likely_rates(predictions)
    band = None if rates is None else roc_band(*rates, POINTS)
    _draw_with_band(axes, curve, band, predictions.group_kind)
    _add_legend(figure)
    return figure


def draw_precision_recall(predictions: Predictions) -> Figure:
    """Draw the precision-recall curve, with a band for new groups unless a class has fewer than five."""
    prevalence = float(predictions.malignant.mean())
    figure, axes = _square("sensitivity (malignant images found)", "precision (of images predicted malignant)")
    axes.axhline(prevalence, color=GREY, linestyle=":", label="chance")
    precision, sensitivity, _ = precision_recall_curve(predictions.malignant, predictions.malignant_probability)
    # At the first threshold that reaches a sensitivity; for 0, at the one that finds the first image.
    precision, sensitivity = precision[-2::-1], sensitivity[-2::-1]
    curve = precision[np.searchsorted(sensitivity, np.maximum(POINTS - 1e-9, 1e-9))]
    rates = likely_rates(predictions)
    band = None if rates is None else precision_band(*rates, np.maximum(POINTS, 1e-3), prevalence)
    if band is not None:
        band[:, POINTS < FEWEST_FOUND] = np.nan
    _draw_with_band(axes, curve, band, predictions.group_kind)
    _add_legend(figure)
    return figure


def draw_net_benefit(predictions: Predictions) -> Figure:
    """Draw the decision curve: net benefit of the network, of acting on all images, and on none, by threshold."""
    table = net_benefit(predictions, np.linspace(0.01, 0.99, 99))
    figure = Plot(4.8, 4.6)
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linestyle=":", label="none")
    axes.plot(table["threshold"], table["all"], color=GREY, label="all images")
    axes.plot(table["threshold"], table["model"], color=BLUE, label="network")
    top = max(table["model"].max(), table["all"].max())
    axes.set(xlabel="threshold of the probability of malignancy", ylabel="net benefit", ylim=(-0.1, 1.1 * top + 0.02))
    axes.grid(alpha=0.3)
    _add_legend(figure)
    return figure


def _draw_with_band(axes: Axes, curve: np.ndarray, band: np.ndarray | None, kind: str) -> None:
    """Draw a curve and its band, both at `POINTS`; a posterior may leave out an extreme value, such as 1."""
    if band is None:
        axes.plot([], [], " ", label=f"no band: a class has fewer than {FEW_GROUPS} {kind}s")
    else:
        limits = np.minimum(band[0], curve), np.maximum(band[1], curve)
        axes.fill_between(
            POINTS, *limits, color=BLUE, alpha=0.2, linewidth=0, label=f"95 % for new {kind}s, at each point"
        )
    axes.plot(POINTS, curve, color=BLUE, label="all images")


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Plot(4.8, 4.6)
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    return figure, axes


def _add_legend(figure: Figure) -> None:
    """Add a legend above the plot, where it covers nothing; a class name may contain a $."""
    legend = figure.legend(frameon=False, ncols=2, loc="outside upper center", fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_errors(predictions: Predictions, root: Path, title: str) -> Figure:
    """Draw the misclassified images with the highest confidence, as stored on disk.

    Args:
        predictions: Predictions of images below `root`; unreadable images are left out.
        root: Folder of the images.
        title: Name of the set of images, such as "test".
    """
    confidence, wrong = predictions.probabilities.max(axis=1), np.flatnonzero(~predictions.correct)
    images, captions = [], []
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    paths = predictions.table["path"].iloc[order]  # an image that several networks tested is shown once
    for row in order[~paths.duplicated().to_numpy()][:SHEET]:
        path, label, group = (str(predictions.table[name].iloc[row]) for name in ("path", "label", "group"))
        with suppress(OSError, ValueError):
            images.append(read_image(root / path, math.inf))
            group = "" if group == path else f"{group}: "
            captions.append(f"{group}{label}, predicted\n{predictions.predicted[row]} {confidence[row]:.0%}")
    heading = f"{title}: {len(wrong):,} of {len(confidence):,} predictions wrong; most confident errors first"
    return draw_sheet(images, captions, heading)
