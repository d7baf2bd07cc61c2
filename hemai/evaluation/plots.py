"""Pictures of an evaluation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hemai.evaluation.predictions import Predictions

BLUE, ORANGE, GREY = "#1f77b4", "#d95f02", "#777777"
SHOWN = 60  # groups of a picture
POINTS = np.linspace(0, 1, 101)


def draw_reliability(bins: pd.DataFrame) -> Figure:
    """Accuracy against confidence: on the diagonal a probability means what it says."""
    figure, axes = _square("confidence (probability of the predicted class)", "accuracy")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="calibrated")
    axes.scatter(bins["confidence"], bins["accuracy"], s=10 + 400 * bins["images"] / bins["images"].sum(), color=BLUE)
    axes.plot(bins["confidence"], bins["accuracy"], color=BLUE, label="images, by bins of confidence")
    axes.legend(frameon=False, loc="upper left")
    axes.set_title("below the diagonal: too sure; the larger a point, the more images", fontsize=9)
    return figure


def draw_abstention(table: pd.DataFrame) -> Figure:
    """Accuracy against the share of images that are answered."""
    figure, axes = _square("share of images answered, the surest first", "accuracy of the answers")
    axes.plot(table["coverage"], table["accuracy"], color=BLUE, marker="o", markersize=3)
    axes.set_ylim(min(0.5, table["accuracy"].min() - 0.02), 1.005)
    axes.set_title("it should rise to the left", fontsize=9)
    return figure


def draw_groups(groups: pd.DataFrame, kind: str) -> Figure:
    """Each group's share of right images, worst first, by class."""
    shown = groups.head(SHOWN)
    figure = Figure(figsize=(max(5.0, 1.5 + 0.22 * len(shown)), 4.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    labels = sorted(shown["label"].unique())
    for label, colour in zip(labels, (BLUE, ORANGE, "#1b9e77", "#7570b3", *[GREY] * len(labels)), strict=False):
        rows = shown[shown["label"] == label]
        axes.bar(rows.index, rows["accuracy"], color=colour, label=label)
    more = f" (the worst {len(shown)} of {len(groups)})" if len(groups) > len(shown) else ""
    names = [f"{group} ({images})" for group, images in zip(shown["group"], shown["images"], strict=True)]
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=7, parse_math=False)
    axes.set(xlabel=f"{kind} (images)", ylabel="share of its images called right", ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    legend = axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(f"how far one {kind} differs from another{more}", fontsize=9)
    return figure


def draw_roc(predictions: Predictions, kind: str, seed: int = 0, resamples: int = 500) -> Figure:
    """Sensitivity against 1 - specificity, with the band in which 95 % of resamples of groups lie.

    Groups are drawn with replacement among those with malignant images and among the others, so that each resample
    has both.
    """
    malignant, score = predictions.malignant, predictions.malignant_probability
    codes, names = predictions.group_codes()
    holds = np.bincount(codes[malignant], minlength=len(names)) > 0
    rng = np.random.default_rng(seed)
    counts = np.zeros((resamples, len(names)))
    for part in (np.flatnonzero(holds), np.flatnonzero(~holds)):
        if len(part):
            counts[:, part] = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), resamples)
    whole = _roc(np.ones((1, len(codes))), malignant, score)
    band = np.nanquantile(_roc(counts[:, codes], malignant, score), (0.025, 0.975), axis=0)
    figure, axes = _square("1 - specificity (benign images called malignant)", "sensitivity (malignant images found)")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    axes.fill_between(POINTS, *band, color=BLUE, alpha=0.2, linewidth=0, label=f"95 % of resamples of {kind}s")
    axes.plot(POINTS, whole[0], color=BLUE, label="all images")
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("the nearer to the upper left corner, the better", fontsize=9)
    return figure


def _roc(weights: np.ndarray, malignant: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Sensitivity at `POINTS` of 1 - specificity, of each weighting; shape (weightings, points)."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each run of equal scores
    found = (weights[:, order] * malignant[order]).cumsum(axis=1)[:, last]
    wrong = (weights[:, order] * ~malignant[order]).cumsum(axis=1)[:, last]
    curves = np.full((len(weights), len(POINTS)), np.nan)
    for row in np.flatnonzero((found[:, -1] > 0) & (wrong[:, -1] > 0)):
        x, y = (np.append(0, counts[row] / counts[row, -1]) for counts in (wrong, found))
        curves[row] = np.interp(POINTS, x, y)
    return curves


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 4.6), layout="constrained", dpi=120)
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    return figure, axes
