"""Images to predict, and their groups, as a user names them: files, folders, patterns, or a csv file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hemai.data.group_pattern import compile_pattern, find_group
from hemai.data.images import find_images
from hemai.utils.encoding import check_utf8
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import read_table


@dataclass(frozen=True)
class ImageList:
    """Images in their order, without content; a million of them take about 0.5 GB.

    Attributes:
        files: Absolute paths.
        names: Shorter paths that identify them; of a csv file its column `path`.
        groups: Group of each image, such as the patient; None: not known.
    """

    files: Sequence[str]
    names: Sequence[str]
    groups: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def digest(self) -> str:
        """SHA-256 of names, groups, sizes and modification times, which tells whether an image was replaced."""
        digest = hashlib.sha256()
        for name, group, file in zip(self.names, self.groups or self.names, self.files, strict=True):
            try:
                status = os.stat(file)
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                state = "missing"
            digest.update(f"{name}\0{group}\0{state}\n".encode())
        return digest.hexdigest()


def list_images(images: Sequence[str], pattern: str | None = None) -> ImageList:
    r"""List the images that a user names on a command line.

    Args:
        images: Files, folders and patterns, see `find_images`; or one csv file with a column `path` (relative to the
            folder of the csv file, or absolute) and, optionally, `group`.
        pattern: Regular expression that finds the group in the name of an image, as in `P(\d+)_`; see `find_group`.

    Raises:
        UserError: No image, a csv file that cannot be used, or names in which the pattern finds no group.
    """
    compiled = None if pattern is None else compile_pattern(pattern, "--pattern")
    if tables := [name for name in images if name.lower().endswith(".csv")]:
        if len(images) > 1:
            raise UserError(f"{shorten(tables)}: give one csv file, and nothing else")
        listed = _read_csv(Path(os.path.expanduser(tables[0])))
    else:
        found = find_images(images)
        listed = ImageList([str(file) for file in found], [name.as_posix() for name in found.values()])
    if compiled is None:
        return listed
    if listed.groups is not None:
        raise UserError(f"--pattern: {tables[0]} has a column group; remove one of the two")
    groups = [find_group(compiled, name) for name in listed.names]
    if none := [name for name, group in zip(listed.names, groups, strict=True) if not group]:
        raise UserError(
            f"--pattern '{pattern}' finds no group in {len(none):,} of {len(listed):,} names ({shorten(none, 3)}); "
            "correct it, or leave these images out"
        )
    return ImageList(listed.files, listed.names, [str(group) for group in groups])


def _read_csv(file: Path) -> ImageList:
    rows = read_table(file, "IMAGES", ("path",), by_hand=True)
    names = rows["path"].tolist()
    if not names or "" in names:
        found = f"{names.count(''):,} rows without a path" if names else "no rows"
        raise UserError(f"{file}: found {found}, expected one row with a path for each image; complete it")
    check_utf8(names)
    top = file.absolute().parent
    files = [os.path.normpath(top / os.path.expanduser(name)) for name in names]
    if twice := sorted(set(rows["path"][pd.Series(files).duplicated()])):
        raise UserError(f"{file}: {len(twice):,} paths occur twice ({shorten(twice)}); remove one of each")
    if not any(map(os.path.exists, files)):
        raise UserError(
            f"{file}: none of its {len(names):,} paths exists ({shorten(files, 2)}); write them absolute, or relative "
            f"to {top}"
        )
    if misspelt := [name for name in rows.columns if name != "group" and name.strip().lower() == "group"]:
        raise UserError(f"{file}: the column {misspelt[0]!r} would be ignored; rename it to group, or remove it")
    groups = rows["group"].tolist() if "group" in rows.columns else None
    if groups is not None and "" in groups:
        raise UserError(f"{file}: {groups.count(''):,} rows have no group; complete them, or remove the column")
    return ImageList(files, names, groups)
