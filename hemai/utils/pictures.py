"""Figures rendered to PNG once, for files, reports and loggers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from hemai.utils.files import replace_file

DPI = 150
WIDE_PX = 1000
CURVES = {"loss": "cross-entropy per image", "accuracy": "accuracy"}  # metric -> label of its axis
COLOURS = {"train": "#1f77b4", "val": "#d95f02"}
NAMES = {"train": "training", "val": "validation"}


class Plot(Figure):
    """A matplotlib figure in the style of hemai; it shows itself in a notebook, also one without pyplot.

    Args:
        width, height: Inches.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout="constrained", dpi=120)

    def _repr_png_(self) -> bytes:
        return render("", self).png


@dataclass(frozen=True)
class Picture:
    """A figure rendered to PNG, for files, reports and loggers.

    Attributes:
        name: File name without the suffix.
        png: Content of the PNG file.
        caption: Sentence that describes the figure.
    """

    name: str
    png: bytes
    caption: str = ""

    @property
    def array(self) -> np.ndarray:
        """Pixels as uint8 RGB, shape (height, width, 3)."""
        bgr = np.asarray(cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_COLOR))
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    @property
    def is_wide(self) -> bool:
        """Whether the figure is too wide to share a row of a report."""
        return self.array.shape[1] > WIDE_PX

    @property
    def data_uri(self) -> str:
        """Figure as a PNG data URI, for a self-contained HTML file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    def save(self, folder: Path) -> None:
        """Write `<name>.png` into a folder, which is created if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / f"{self.name}.png") as file:
            file.write(self.png)


def render(name: str, figure: Figure, caption: str = "") -> Picture:
    """Render a matplotlib figure to PNG; see `Picture`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    return Picture(name, png.getvalue(), caption)


def encode(name: str, image: np.ndarray, caption: str = "") -> Picture:
    """Encode an image, uint8 RGB, (height, width, 3), to PNG; see `Picture`."""
    return Picture(name, cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes(), caption)


def draw_confusion(matrix: torch.Tensor, classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: counts and row percentages (how the images of each true class are predicted).

    Args:
        matrix: Counts, shape (classes, classes); rows are true classes.
        classes: Class names.
        title: Title of the figure.
    """
    counts = matrix.cpu().numpy()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.9 * len(classes)
    figure = Plot(size + 0.9, 0.9 * size)
    axes = figure.subplots()
    heatmap = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}\n{fractions[row, column]:.1%}",
            ha="center",
            va="center",
            color="white" if fractions[row, column] > 0.5 else "black",
        )
    names = [name if len(name) < 14 else name[:12] + "…" for name in classes]
    # A class name may contain a $.
    axes.set_xticks(range(len(classes)), names, rotation=0 if len(classes) < 5 else 45, parse_math=False)
    axes.set_yticks(range(len(classes)), names, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(title, fontsize=10)
    percent = PercentFormatter(xmax=1)
    figure.colorbar(heatmap, ax=axes, shrink=0.8, format=percent, label="fraction of the true class")
    return figure


def draw_curves(rows: Sequence[Mapping[str, float]], best_epoch: int | None) -> Figure:
    """Draw loss and accuracy of training and validation images by epoch.

    Args:
        rows: One mapping per epoch, as in `metrics.csv`; a missing value has no point.
        best_epoch: Epoch of the tested checkpoint, counted from 1.
    """
    figure = Plot(9, 3.8)
    for axes, (metric, label) in zip(figure.subplots(1, 2), CURVES.items(), strict=True):
        for stage, colour in COLOURS.items():
            points = [(row["epoch"], row[f"{stage}/{metric}"]) for row in rows if f"{stage}/{metric}" in row]
            if points:
                marker = "o" if len(points) < 3 else None
                axes.plot(*zip(*points, strict=True), color=colour, label=NAMES[stage], marker=marker)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linestyle=":", label="tested checkpoint")
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_title(metric, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def draw_sheet(
    images: Sequence[np.ndarray], captions: Sequence[str], title: str, columns: int = 8, width: float = 1.3
) -> Figure:
    """Draw a sheet of images in rows, each with its caption.

    Args:
        images: uint8 RGB, (height, width, 3).
        captions: One or two short lines per image.
        title: Title of the figure.
        columns: Images per row.
        width: Width of an image in inches.
    """
    rows = max(1, -(-len(images) // columns))
    figure = Plot(columns * width, rows * 1.6 + 0.4)
    figure.suptitle(title, fontsize=10, parse_math=False)  # a file name may contain a $
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, caption in zip(figure.axes, images, captions, strict=False):
        axes.imshow(image)
        axes.set_title(caption, fontsize=7, pad=2, y=1, parse_math=False)
    return figure
