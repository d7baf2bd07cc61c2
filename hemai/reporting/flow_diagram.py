"""Flow diagram of images and patients: boxes below each other, readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hemai.utils.pictures import Plot

WIDTH, LINE, GAP, PAD, INDENT, TRUNK = 4.6, 0.18, 0.16, 0.09, 0.5, 0.22  # inches
COLUMNS = 58  # characters in a line across the whole width
EDGES = {"": "#777777", "left out": "#d95f02", "tested": "#1f77b4"}
FILLS = {"": "#ffffff", "left out": "#fdf1e7", "tested": "#eaf2f8"}


@dataclass(frozen=True)
class Box:
    """Box of a flow diagram.

    Attributes:
        title: First line, in bold.
        lines: Further lines; long ones are wrapped.
        branch: Whether it branches off the main flow: images that are left out, or one part of a split.
        kind: "left out", "tested", or empty.
    """

    title: str
    lines: Sequence[str] = ()
    branch: bool = False
    kind: str = ""

    @property
    def text(self) -> list[tuple[str, str]]:
        """Wrapped lines with their font weights."""
        columns = COLUMNS - 8 * self.branch
        title = [(part, "bold") for part in wrap(self.title, columns - 4)]
        return title + [(part, "normal") for line in self.lines for part in wrap(line, columns)]

    @property
    def height(self) -> float:
        """Height in inches."""
        return LINE * len(self.text) + 2 * PAD


def draw_flow(flows: Sequence[Sequence[Box]]) -> Figure:
    """Draw flows below each other; a line at the left joins the boxes of one flow, and branches leave from it."""
    height = sum(box.height + GAP for flow in flows for box in flow)
    figure = Plot(WIDTH, height)
    figure.set_layout_engine("none")  # the axes fill the figure
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.03, WIDTH + 0.03), ylim=(height, -0.03))
    axes.axis("off")
    top = 0.0
    for flow in flows:
        middles = []
        for box in flow:
            middles.append(top + box.height / 2)
            _draw_box(axes, box, top)
            top += box.height + GAP
        axes.plot([TRUNK, TRUNK], [middles[0], middles[-1]], color=EDGES[""], linewidth=1, zorder=1)
    return figure


def _draw_box(axes: Axes, box: Box, top: float) -> None:
    left, fill, edge = INDENT * box.branch, FILLS[box.kind], EDGES[box.kind]
    axes.add_patch(Rectangle((left, top), WIDTH - left, box.height, facecolor=fill, edgecolor=edge, zorder=2))
    for number, (line, weight) in enumerate(box.text):
        y = top + PAD + LINE * (number + 0.5)
        axes.text(left + 0.1, y, line, va="center", fontsize=8.5, weight=weight, zorder=3, parse_math=False)
    if box.branch:
        middle = top + box.height / 2
        arrow = {"arrowstyle": "-|>", "color": EDGES[""], "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (left, middle), (TRUNK, middle), arrowprops=arrow)
