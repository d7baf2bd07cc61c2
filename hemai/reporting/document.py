"""Report as a list of sections, and its output as HTML, Markdown and terminal text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd
from matplotlib.figure import Figure

from hemai.reporting.templating import fill_template
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import CONTROL
from hemai.utils.files import write_text
from hemai.utils.pictures import Picture, render
from hemai.utils.terminal import say, show_table

STORED = "Every metric is computed from the predictions stored beside this page."


@dataclass(frozen=True)
class Table:
    """Table of a report; the first `texts` columns hold text, the others numbers."""

    frame: pd.DataFrame
    caption: str = ""
    texts: int = 1


@dataclass(frozen=True)
class Section:
    """Section of a report, with its parts in display order.

    `is_brief`: also printed on the terminal; `box`: set apart on the page.
    """

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: str = ""
    is_brief: bool = False
    box: bool = False


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Write `report.html` (self-contained), and `report.md` with its pictures in `figures/`."""
    page, text = (
        fill_template(name, title=title, sections=sections, note=STORED) for name in ("report.html", "report.md")
    )
    for section in sections:
        for picture in section.pictures:
            picture.save(folder / "figures")
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", text)


def write_page(file: Path, title: str, sections: Sequence[Section], note: str = STORED) -> None:
    """Write sections as one self-contained HTML file; `note`: sentence at its top."""
    write_text(file, fill_template("report.html", title=title, sections=sections, note=note))


def print_report(title: str, sections: Sequence[Section], brief: bool = True) -> None:
    """Print the sections of a report without pictures; with `brief` only the brief ones."""
    print(CONTROL.sub("?", title))
    for section in (section for section in sections if section.is_brief or not brief):
        print(f"\n{section.heading}")
        say(*section.sentences)
        for table in section.tables:
            show_table(table.frame, table.caption, table.texts)


def picture_of_run(run: SavedRun | None, name: str, draw: Callable[[], Figure], caption: str) -> Picture:
    """Load a plot from `figures/` of a run; draw it if the file is missing, unreadable or a symbolic link.

    Args:
        run: Run that may have the plot.
        name: File name without suffix.
        draw: Draws the plot.
        caption: Sentence that explains the plot.
    """
    file = None if run is None or run.folder is None else run.folder.figures / f"{name}.png"
    if file is not None and file.is_file() and not file.is_symlink() and cv2.imread(str(file)) is not None:
        return Picture(name, file.read_bytes(), caption)
    return render(name, draw(), caption)
