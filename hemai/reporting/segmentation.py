"""Segment images: masks, cut-outs and overlays of the nuclei."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hemai.data.images import find_images, read_image
from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import SegmentNucleus
from hemai.transforms.segment import Segmentation
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import check_new_folder, csv_text, output_errors, write_text
from hemai.utils.pictures import Plot, render
from hemai.utils.terminal import say, show_table, track

COLUMNS = ("image", "height", "width", "found", "objects", "area_px", "area_share", "milliseconds", "error")
OUTLINE = (0, 255, 0)  # no stain is green
_drawing = threading.Lock()  # matplotlib draws one figure at a time


def segment_images(arguments: Sequence[str], out: Path, size: int | None = None, stages: bool = False) -> pd.DataFrame:
    """Segment images, and write masks, cut-outs, overlays and a table.

    Args:
        arguments: Files, folders and patterns; `transform=NAME` and `transform.KEY=VALUE` as for train.py.
        out: New or empty folder for `masks/` (0 and 255), `cutouts/`, `overlays/` and `segments.csv`.
        size: Resize images to `size` x `size` px first; None: keep their size. Steps of the transform before the
            segmentation follow, such as the resize of hosseini.
        stages: Draw the six stages of each image into `stages/`.

    Returns:
        The content of `segments.csv`, one row per image: its name, height and width (px), whether a nucleus
        was found, number of objects, area in px and as a fraction of the image, time in ms without reading and
        writing, and the error if it could not be read.

    Raises:
        UserError: No image, no segmentation in the transform, `out` is not empty or cannot be written; or images
            that cannot be read, after all others are done.
    """
    overrides = [argument for argument in arguments if re.match(r"~transform\.|[+]*[\w.]+=", argument)]
    if other := [override for override in overrides if not re.match(r"[~+]*transform[=.]", override)]:
        raise UserError(f"{shorten(other)}: expected only images and settings of the transform")
    images = find_images([argument for argument in arguments if argument not in overrides])
    before, segmentation = _steps(["transform=segmented", *overrides])
    if size is not None and size < 1:
        raise UserError(f"--size {size}: expected 1 or more pixels")
    check_new_folder(out)
    with output_errors(out):
        rows = list(track(_rows(images, before, segmentation, out, size, stages), "segmenting", total=len(images)))
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table = table.astype(dict.fromkeys(("height", "width", "objects", "area_px"), "Int64"))
        write_text(out / "segments.csv", csv_text(table))
    _print_summary(table, out)
    if (bad := table[table["error"] != ""]).size:
        raise UserError(
            f"{len(bad)} of {len(table)} images could not be read: "
            + shorten(f"{name} ({error})" for name, error in zip(bad["image"], bad["error"], strict=True))
        )
    return table


def _steps(overrides: Sequence[str]) -> tuple[list[A.BasicTransform], SegmentNucleus]:
    """Steps of a transform before its segmentation, and the segmentation."""
    steps = build(compose(overrides).transform).prepare
    for position, step in enumerate(steps):
        if isinstance(step, SegmentNucleus):
            return steps[:position], step
    raise UserError(
        f"{shorten(overrides[1:])} contains no SegmentNucleus; choose transform=segmented or transform=hosseini"
    )


def _rows(
    images: dict[Path, Path],
    before: list[A.BasicTransform],
    segmentation: SegmentNucleus,
    out: Path,
    size: int | None,
    stages: bool,
) -> Iterator[dict[str, Any]]:
    outputs = output_names(list(images.values()))

    def work(file: Path, name: Path) -> dict[str, Any]:
        try:
            image = read_image(file)
        except (ValueError, OSError) as error:
            return {"image": name.as_posix(), "found": False, "error": " ".join(str(error).split())}
        if size:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        try:
            for step in before:
                image = step(image=image)["image"]
        except Exception as error:  # albumentations raises errors of several types
            raise UserError(f"{file}: transform.prepare fails: {error}") from error
        start = time.thread_time()  # of this thread only: others draw and write at the same time
        result = segmentation.segment(image)
        seconds = time.thread_time() - start
        cutout = segmentation.cut(image, result)  # what training sees
        outlines, _ = cv2.findContours(result.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        overlay = cv2.drawContours(image.copy(), outlines, -1, OUTLINE, max(1, min(image.shape[:2]) // 300))
        pictures = {
            "masks": result.mask * 255,
            "cutouts": cv2.cvtColor(cutout, cv2.COLOR_RGB2BGR),
            "overlays": cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR),
        }
        png = outputs[name]
        for kind, picture in pictures.items():
            _write_png(out / kind / png, picture)
        if stages:
            with _drawing:
                drawn = draw_stages(image, result, cutout, name.name)
                render(Path(png).stem, drawn).save(out / "stages" / Path(png).parent)
        area = int(result.mask.sum())
        return {
            "image": name.as_posix(),
            "height": image.shape[0],
            "width": image.shape[1],
            "found": result.found,
            "objects": cv2.connectedComponents(result.mask)[0] - 1,
            "area_px": area,
            "area_share": round(area / result.mask.size, 6),
            "milliseconds": round(1000 * seconds, 2),
            "error": "",
        }

    out.mkdir(parents=True, exist_ok=True)
    segmentation.segment(np.zeros((8, 8, 3), np.uint8))  # OpenCV builds its LAB tables on the first call
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, images.keys(), images.values())


def output_names(names: Sequence[Path]) -> dict[Path, Path]:
    """Output file of each image: a.jpg becomes a.png, or a.jpg.png for all if two would collide."""
    short = {name: name.with_suffix(".png") for name in names}
    folders = {parent for name in names for parent in name.parents}
    if len(set(short.values())) == len(names) and folders.isdisjoint(short.values()):
        return short
    return {name: name.with_name(f"{name.name}.png") for name in names}


def _write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # cv2.imwrite fails on accents in paths on some systems, and gives no reason.
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _print_summary(table: pd.DataFrame, out: Path) -> None:
    read = table[table["error"] == ""]
    found = read[read["found"].astype(bool)]
    rows = [
        ("nucleus found", f"{len(found):,}"),
        ("none found", f"{len(read) - len(found):,}"),
        ("unreadable", f"{len(table) - len(read):,}"),
    ]
    if len(found):
        rows.append(("objects per image, median", f"{found['objects'].median():g}"))
        rows.append(("area, median fraction of the image", f"{found['area_share'].median():.1%}"))
    if len(read):
        rows.append(("time per image, median", f"{read['milliseconds'].median():.1f} ms"))
    show_table(pd.DataFrame(rows, columns=[f"{len(table):,} images", ""]))
    say(*(f"no nucleus found: {name}" for name in read["image"][~read["found"].astype(bool)][:5]))
    print(f"written to {out}")


def draw_stages(image: np.ndarray, stages: Segmentation, cutout: np.ndarray, title: str) -> Figure:
    """Draw the six stages of a segmentation, as in the HEMAI report.

    Args:
        image: uint8 RGB, (height, width, 3).
        stages: Segmentation of the image.
        cutout: Image after the segmentation step, of the same shape.
        title: Title of the figure.
    """
    found = "no nucleus found" if not stages.found else f"{stages.mask.mean():.1%} of the image"
    centres = ", ".join(f"{centre:.0f}" for centre in stages.centres[:8]) + ", ..." * (len(stages.centres) > 8)
    panels: list[tuple[np.ndarray, str]] = [
        (image, "a  image (RGB)"),
        (stages.channel, "b  one channel of LAB"),
        (stages.clustered, f"c  K-means: {len(stages.centres)} centres\n{centres}"),
        (stages.rough, "d  clusters of the nucleus"),
        (stages.mask, f"e  cleaned mask: {found}"),
        (cutout, "f  mask applied" if stages.found else "f  what training sees"),
    ]
    aspect = np.clip(image.shape[0] / image.shape[1], 0.2, 3)  # a narrow strip would make a figure metres long
    figure = Plot(9.6, 2 * 3.2 * aspect + 1.2)
    figure.suptitle(title, fontsize=10, parse_math=False)  # a file name may contain a $
    for axes, (picture, caption) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        is_grey = picture.ndim == 2
        low, high = (stages.channel.min(), stages.channel.max()) if picture.max(initial=0) > 1 else (0, 1)
        axes.imshow(picture, cmap="gray" if is_grey else None, vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(caption, fontsize=9)
        axes.axis("off")
    return figure
