"""Draw the figures of README and docs from the synthetic set: `python docs/draw_figures.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hemai.data import Synthetic
from hemai.data.images import read_image
from hemai.reporting.segmentation import draw_stages
from hemai.transforms import SegmentNucleus
from hemai.utils.pictures import draw_sheet


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


def draw_smear(path: Path) -> None:
    """Write the six stages of the segmentation of a smear with drawn cells among red cells."""
    rng = np.random.default_rng(4)
    smear = np.full((480, 640, 3), (236, 238, 226), np.uint8)
    for _ in range(110):
        x, y, radius = int(rng.integers(640)), int(rng.integers(480)), int(rng.integers(14, 19))
        cv2.circle(smear, (x, y), radius, (196, 186, 202), -1, cv2.LINE_AA)
        cv2.circle(smear, (x, y), radius // 3, (216, 210, 216), -1, cv2.LINE_AA)
    smear = cv2.GaussianBlur(smear, (0, 0), 1.5)
    data = Synthetic()
    for row, (top, left) in enumerate([(10, 60), (40, 330), (190, 190), (300, 440), (180, 480), (320, 20)]):
        cell = read_image(data.root / data.table["path"].iloc[200 * row])
        there = cell.max(axis=2, keepdims=True) > 12
        place = smear[top : top + cell.shape[0], left : left + cell.shape[1]]
        place[:] = np.where(there, np.clip(cell * 1.25, 0, 255), place)
    smear = np.clip(smear + rng.normal(0, 2, smear.shape), 0, 255).astype(np.uint8)
    transform = SegmentNucleus()
    stages = transform.segment(smear)
    draw_stages(smear, stages, transform.cut(smear, stages), "a smear drawn by hemai, transform=segmented").savefig(
        path, dpi=100
    )


if __name__ == "__main__":
    draw_cells(Path(__file__).parent / "cells.png")
    draw_smear(Path(__file__).parent / "segmentation.png")
