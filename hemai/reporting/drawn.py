"""Pictures that training has drawn already."""

from __future__ import annotations

from collections.abc import Callable

import cv2
from matplotlib.figure import Figure

from hemai.evaluation.finished import Finished
from hemai.figures import Picture, render


def picture_of_run(run: Finished | None, name: str, draw: Callable[[], Figure], caption: str) -> Picture:
    """Take a picture from `figures/` of a run; draw it if there is none, no image, or a link out of the run.

    Args:
        run: That may have it.
        name: Of its file, without the suffix.
        draw: Makes it.
        caption: Sentence that says what to see.
    """
    file = None if run is None else run.file(f"figures/{name}.png")
    if file is not None and not file.is_symlink() and cv2.imread(str(file)) is not None:
        return Picture(name, file.read_bytes(), caption)
    return render(name, draw(), caption)
