"""Draw the figures of README and docs from the synthetic set: `python docs/draw_figures.py`."""

from __future__ import annotations

from pathlib import Path

from hemai.data import Synthetic
from hemai.data.images import read_image
from hemai.figures import draw_sheet


def draw_cells(path: Path) -> None:
    """Write drawn cells of eight patients of each class, two of each patient."""
    data = Synthetic()
    images, captions = [], []
    for nth in (0, 1):
        for label, name in (("all", "leukaemic"), ("hem", "normal")):
            for group, rows in list(data.table[data.table["label"] == label].groupby("group"))[:8]:
                images.append(read_image(data.root / rows["path"].iloc[nth]))
                captions.append(f"{name}, {group}")
    title = "cells drawn by hemai: 16 patients, each with a stain and a light of its own"
    draw_sheet(images, captions, title).savefig(path, dpi=100)


if __name__ == "__main__":
    draw_cells(Path(__file__).parent / "cells.png")
