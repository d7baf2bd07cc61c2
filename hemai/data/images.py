"""Finding and reading image files."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hemai.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # an unreadable file is reported once, by us, with its name


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file.

    Args:
        path: png, jpg, bmp, tif or webp; grey, colour or with alpha (which is dropped); 8 or 16
            bits a channel (the upper 8 are kept). OpenCV darkens the half-transparent pixels of a tif.

    Returns:
        uint8 RGB, shape (height, width, 3), 0..255.

    Raises:
        ValueError: The file is empty, cut short, or no image.
        OSError: The file cannot be opened.
    """
    content = Path(path).read_bytes()
    if not content:
        raise ValueError("the file is empty")
    # OpenCV 5 returns None for a file that is cut short, older versions half an image.
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses it: {' '.join(str(error).split())}") from error
    if image is None:
        raise ValueError(f"not an image of 8 or 16 bits a channel, or cut short ({len(content):,} bytes)")
    return image


def images_below(folder: Path) -> tuple[list[Path], int]:
    """All image files below a folder, sorted, without hidden files and folders; and how many other files.

    Links to folders are followed once.
    """
    files, seen = [], {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        # A link to a folder above would be followed for ever.
        real = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in seen]
        seen.update(real.values())
        files += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return images, len(files) - len(images)


def find_images(places: Sequence[str]) -> dict[Path, Path]:
    """The images that a user names on a command line.

    Args:
        places: Files, folders (searched to any depth) and patterns such as `smears/**/*.jpg`.

    Returns:
        Each file, with the path that names it: relative to its folder, or to the folder that all
        files of a pattern share. Where two would have one name: relative to the folder that all share.

    Raises:
        UserError: Nothing there, or no image.
    """
    found: dict[Path, Path] = {}
    if not places or "" in places:
        raise UserError("no image: expected files, folders or patterns")
    for place in places:
        files, top = _images_at(place)
        if not files:
            raise UserError(
                f"no image at {place}; expected a file, a folder or a pattern ({', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        found |= {Path(os.path.abspath(file)): file.relative_to(top) for file in files}
    if len(set(found.values())) < len(found):
        top = Path(os.path.commonpath([file.parent for file in found]))
        found = {file: file.relative_to(top) for file in found}
    return found


def _images_at(place: str) -> tuple[list[Path], Path]:
    """The images that one file, folder or pattern names, and the folder that their names start from."""
    path = Path(os.path.expanduser(place))
    if path.is_dir():
        return images_below(path)[0], path
    if path.exists():
        return [path], path.parent
    # Brackets in the name of a folder that is there are no pattern.
    there = next(parent for parent in path.parents if parent.is_dir())
    pattern = Path(glob.escape(str(there))) / path.relative_to(there)
    matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    files = [match for match in matches if match.suffix.lower() in IMAGE_SUFFIXES and match.is_file()]
    return files, Path(os.path.commonpath([match.parent for match in files])) if files else path
