"""A report as a list of sections, in three forms: HTML, Markdown, the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from hemai.runs.saved_run import SavedRun
from hemai.utils.files import write_text
from hemai.utils.pictures import Picture, render
from hemai.utils.terminal import say, show_table


@dataclass(frozen=True)
class Table:
    """Rows and columns of text; the first columns are words, the others numbers."""

    frame: pd.DataFrame
    caption: str = ""
    texts: int = 1


@dataclass(frozen=True)
class Section:
    """A heading and what follows it, in this order; `is_brief`: short enough for the terminal."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: str = ""
    is_brief: bool = False


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Write `report.html`, which needs no other file, `report.md`, and its pictures below `figures/`."""
    environment = Environment(
        loader=PackageLoader("hemai.reporting"),
        autoescape=lambda name: str(name).endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _markdown_cell
    content = {"title": title, "sections": sections}
    pages = {name: environment.get_template(name).render(content) for name in ("report.html", "report.md")}
    for section in sections:
        for picture in section.pictures:
            picture.save(folder / "figures")
    for name, text in pages.items():
        write_text(folder / name, text)


def print_report(title: str, sections: Sequence[Section], brief: bool = True) -> None:
    """Print the sections of a report without their pictures; with `brief` only those that say so."""
    print(title)
    for section in (section for section in sections if section.is_brief or not brief):
        print(f"\n{section.heading}")
        say(*section.sentences)
        for table in section.tables:
            show_table(table.frame, table.caption, table.texts)


def _markdown_cell(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def picture_of_run(run: SavedRun | None, name: str, draw: Callable[[], Figure], caption: str) -> Picture:
    """Take a picture from `figures/` of a run; draw it if there is none, no image, or a link out of the run.

    Args:
        run: That may have it.
        name: Of its file, without the suffix.
        draw: Makes it.
        caption: Sentence that says what to see.
    """
    file = None if run is None or run.folder is None else run.folder.figures / f"{name}.png"
    if file is not None and file.is_file() and not file.is_symlink() and cv2.imread(str(file)) is not None:
        return Picture(name, file.read_bytes(), caption)
    return render(name, draw(), caption)
