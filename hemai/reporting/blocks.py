"""A report as a list of sections, and its two forms: one page of HTML, and Markdown with pictures beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from hemai.figures import draw_sheet, save
from hemai.files import write_text

PHOTO_SIDE = 160  # px, of the longer side


@dataclass(frozen=True)
class Table:
    """Rows and columns; the first column names the row. Numbers stand to the right, text to the left."""

    frame: pd.DataFrame
    caption: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class Picture:
    """A plot, its name as a file, and a sentence that says what to see."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Photo:
    """An image, uint8 RGB (height, width, 3), and what it is."""

    image: np.ndarray
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    photos: Sequence[Photo] = field(default=())
    code: str = ""


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Write `report.html`, which needs no other file, `report.md`, and its pictures below `figures/`."""
    environment = Environment(
        loader=PackageLoader("hemai.reporting"),
        autoescape=lambda name: str(name).endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"file_name": file_name, "svg": _svg, "jpeg": _jpeg, "cell": _markdown_cell}
    facts = {"title": title, "sections": sections}
    pages = {name: environment.get_template(name).render(facts) for name in ("report.html", "report.md")}
    for section in sections:
        for picture in section.pictures:
            save(picture.figure, folder / "figures" / f"{picture.name}.png")
        if section.photos:
            sheet = draw_sheet([p.image for p in section.photos], [p.caption for p in section.photos], section.heading)
            save(sheet, folder / "figures" / f"{file_name(section.heading)}.png")
    for name, text in pages.items():
        write_text(folder / name, text)


def file_name(heading: str) -> str:
    """Of the sheet of a section's photos."""
    return heading.lower().replace(" ", "_")


def _svg(figure: Figure) -> str:
    """As an address that holds the picture itself; text as outlines, so that no font is missing."""
    text = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "hemai"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(text.getvalue()).decode()}"


def _jpeg(image: np.ndarray) -> str:
    scale = PHOTO_SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _markdown_cell(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
