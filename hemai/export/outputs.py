"""Places for what is exported: nothing is overwritten unasked, nothing half-written is left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hemai.runs.exported_folder import read_config
from hemai.utils.errors import UserError
from hemai.utils.files import check_writable, replace_file


def check_file(out: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a path that is no new file of this kind, or cannot be written.

    Args:
        out: Path of the file.
        suffixes: Endings of its name.
        overwrite: Whether it may exist.

    Raises:
        UserError: The message says what to do.
    """
    if out.suffix.lower() not in suffixes:
        raise UserError(
            f"--out: {out} does not end with {' or '.join(suffixes)}; rename it, or choose another --format"
        )
    if out.is_dir():
        raise UserError(f"--out: {out} is a folder, expected the name of a file")
    if out.exists() and not overwrite:
        raise UserError(f"--out: {out} already exists; choose another name, or add --overwrite")
    check_writable(out.parent)


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a path that is no new folder, no empty one and (with `overwrite`) no exported run, or cannot be written.

    Raises:
        UserError: The message says what to do.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file, expected the name of a folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise UserError(f"--out: {out} already exists; choose another name, or add --overwrite")
        try:
            read_config(out)
        except UserError as error:  # also of a network of another program
            raise UserError(
                f"--out: {out} is not an exported run, so it is not overwritten; choose another name"
            ) from error
    check_writable(out.parent)


@contextmanager
def replace_folder(out: Path) -> Iterator[Path]:
    """Write a folder under a temporary name beside `out`, then rename it; if `out` exists, replace its files alone.

    Yields:
        The temporary folder.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.part-", dir=out.parent) as temporary:
        part = Path(temporary, "new")
        part.mkdir()
        yield part
        if not out.exists():
            os.rename(part, out)
            return
        for new in sorted(part.iterdir(), key=lambda file: -file.stat().st_size):  # the largest may not fit the disk
            with replace_file(out / new.name) as file:
                file.write(new.read_bytes())
