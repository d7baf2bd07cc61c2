"""Atomic writes of files and folders, and tables read as text."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from hemai.utils.errors import UserError, shorten

DAY_S = 86_400


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file aside, then move it to its place in one step: an interrupted write leaves the old file or none.

    Args:
        path: Of the file, new or old.

    Yields:
        The file to write into.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with open(part, "xb") as file:  # new: a link in the folder of a stranger leads nowhere
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step; see `replace_file`."""
    with replace_file(path) as file:
        file.write(text.encode())


def check_writable(out: Path) -> None:
    """Find out before the work, not after it.

    Raises:
        UserError: Nothing can be written at `out`.
    """
    there = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"--out: cannot write {out} ({there} is no folder to write to); choose another place")


def check_new_file(file: Path, option: str = "--out") -> None:
    """Fail early if a file already exists or cannot be written.

    Raises:
        UserError: With the option that named it.
    """
    if file.exists():
        raise UserError(f"{option}: {file} already exists; choose another name")
    check_writable(file)


def check_new_folder(folder: Path) -> None:
    """Fail early if a folder holds something, or cannot be written.

    Raises:
        UserError: A file of this name, a folder that is not empty, or no place to write to.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out: {folder} already exists and is not an empty folder; choose another name")
    check_writable(folder)


@contextmanager
def output_errors(path: Path, option: str = "--out") -> Iterator[None]:
    """Say in words that an output cannot be written, such as on a full disk.

    Raises:
        UserError: With the option that named the output.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"{option}: cannot write {path} ({error}); free space or choose another path") from error


@contextmanager
def build_folder(folder: Path, size: int, otherwise: str) -> Iterator[Path]:
    """Build a folder aside, then give it its name in one step.

    Two processes may build the same folder at once: the first to finish keeps it, the work of the other is dropped.

    Args:
        folder: Missing or empty.
        size: Bytes that it will take; whether they are free is checked first.
        otherwise: What to do where there is no room, for the error.

    Yields:
        The folder to write into.

    Raises:
        UserError: Not enough disk space, or a place that cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder.parent).free) < size:
            raise OSError(f"{free / 1e6:,.0f} MB are free")
        for abandoned in folder.parent.glob(f"{folder.name}.part-*"):  # by processes that were killed
            with suppress(OSError):
                if time.time() - abandoned.stat().st_mtime > DAY_S:
                    shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as aside:
            part = Path(aside, folder.name)  # a temporary folder itself is closed to other users
            part.mkdir()
            yield part
            if folder.is_dir() and not os.listdir(folder):
                folder.rmdir()  # Windows does not rename onto an empty folder
            os.rename(part, folder)
    except OSError as error:
        if not folder.is_dir() or not os.listdir(folder):  # else another process was first
            raise UserError(
                f"cannot write {size / 1e6:,.0f} MB to {folder} ({error}); free space or {otherwise}"
            ) from error


def read_table(file: Path, key: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a csv file as text; an empty cell is an empty text.

    Args:
        file: Its path.
        key: What the user knows it by, such as a setting, for the error.
        columns: Those that it must have; it may have others.

    Raises:
        UserError: The file cannot be read, or lacks columns.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: cannot read {file} ({error})") from error
    if missing := [column for column in columns if column not in table.columns]:
        raise UserError(
            f"{file}: no column {shorten(missing)}; found {shorten(table.columns)}, expected {', '.join(columns)}"
        )
    return table
