"""Paths that a user lists in a table, as they are below the root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from hemai.utils.errors import shorten


def path_below(root: Path, path: str) -> str:
    r"""Path relative to `root`, with `/`; also for `./x.png`, an absolute path below `root`, and Windows' `a\x.png`."""
    if "\\" in path and not (root / path).exists():
        path = path.replace("\\", "/")
    file = Path(os.path.normpath(root / path))
    return file.relative_to(root).as_posix() if path and file.is_relative_to(root) else path


def describe_missing(missing: Sequence[str], table: Path, root: Path, files: Sequence[str]) -> str:
    """Sentence on listed images that do not exist, and where the first of them may be.

    Args:
        missing: Paths as in the table.
        table: File that lists them.
        root: Folder of the images.
        files: Images below `root`, relative to it.
    """
    sentence = f"{len(missing)} paths of {table.name} not found in {root}: {shorten(missing)}"
    nearest = max(files, key=lambda file: _shared_end(file, missing[0]), default="")
    if not _shared_end(nearest, missing[0]):
        return sentence
    return f"{sentence}; {missing[0]} may be {nearest}: write each path as it is below data.root"


def _shared_end(*paths: str) -> int:
    """Number of parts, from the last one, that two paths share in any case of letters."""
    reversed_parts = (path.lower().replace("\\", "/").split("/")[::-1] for path in paths)
    return len(list(takewhile(lambda parts: len(set(parts)) == 1, zip(*reversed_parts, strict=False))))
