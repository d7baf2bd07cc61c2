"""Atomic writes of files and folders, and tables as csv files."""

from __future__ import annotations

import csv
import glob
import io
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hemai.utils.errors import UserError, did_you_mean, shorten

if TYPE_CHECKING:  # imported where it is used: a help does without pandas
    import pandas as pd

DAY_S = 86_400
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # OWASP, CSV Injection: a spreadsheet runs cells that begin so


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically: an interrupted write leaves the old file, or none.

    Args:
        path: Path of the file, which may exist.

    Yields:
        Temporary file to write into, which then replaces `path`.
    """
    _remove_abandoned(path, ".*.part")
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # its own: others may write the same file
    try:
        with open(part, "xb") as file:  # a new file: a link planted in a stranger's folder is not followed
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _remove_abandoned(path: Path, ending: str) -> None:
    """Remove what killed processes left beside `path` more than a day ago."""
    for abandoned in path.parent.glob(glob.escape(path.name) + ending):
        with suppress(OSError):
            if time.time() - abandoned.stat().st_mtime > DAY_S:
                shutil.rmtree(abandoned) if abandoned.is_dir() else abandoned.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `replace_file`."""
    with replace_file(path) as file:
        file.write(text.encode())


def check_writable(out: Path) -> None:
    """Fail early if a path cannot be written.

    Raises:
        UserError: `out` cannot be written.
    """
    existing = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"--out: cannot write {out} ({existing} is not a writable folder); choose another path")


def check_new_file(file: Path, option: str = "--out") -> None:
    """Fail early if a file already exists or cannot be written.

    Raises:
        UserError: The message names the option.
    """
    if file.exists():
        raise UserError(f"{option}: {file} already exists; choose another name")
    check_writable(file)


def check_new_folder(folder: Path) -> None:
    """Fail early if a folder is not empty or cannot be written.

    Raises:
        UserError: A file of this name, a folder that is not empty, or no permission to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out: {folder} already exists and is not an empty folder; choose another name")
    check_writable(folder)


@contextmanager
def output_errors(path: Path, option: str = "--out") -> Iterator[None]:
    """Turn an `OSError` while writing an output, such as a full disk, into a `UserError`.

    Raises:
        UserError: The message names the option.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"{option}: cannot write {path} ({error}); free space or choose another path") from error


@contextmanager
def build_folder(folder: Path, size: int, otherwise: str) -> Iterator[Path]:
    """Build a folder atomically: under a temporary name, then renamed.

    If two processes build the same folder at once, the first to finish keeps it; the work of the other is dropped.

    Args:
        folder: Path of the folder, missing or empty.
        size: Size in bytes; the free disk space is checked first.
        otherwise: What to do if the disk is full, other than to free space, for the error.

    Yields:
        Temporary folder to write into.

    Raises:
        UserError: Not enough disk space, or a path that cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder.parent).free) < size:
            raise OSError(f"{free / 1e6:,.0f} MB are free")
        _remove_abandoned(folder, ".part-*")
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as temporary:
            part = Path(temporary, folder.name)  # a temporary folder itself is private to its user
            part.mkdir()
            yield part
            if folder.is_dir() and not os.listdir(folder):
                folder.rmdir()  # Windows does not rename onto an empty folder
            os.rename(part, folder)
    except OSError as error:
        if not folder.is_dir() or not os.listdir(folder):  # otherwise another process was first
            raise UserError(
                f"cannot write {size / 1e6:,.0f} MB to {folder} ({error}); free space or {otherwise}"
            ) from error


def read_regular_file(file: Path) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: The file cannot be read, or is a pipe or a device, which may never end.
    """
    if file.exists() and not file.is_file() and not file.is_dir():
        raise OSError("a pipe or a device, expected a regular file")
    return file.read_bytes()


def csv_text(table: pd.DataFrame, header: bool = True) -> str:
    """CSV text of a table whose names come from outside; `read_table` reads back the same cells.

    Text that a spreadsheet would run as a formula, such as `=cmd()`, gets a `'` in front. Numbers stay, also as text.

    Args:
        table: Its index is not written.
        header: Whether the first row names the columns.
    """
    from pandas.api.types import is_numeric_dtype

    safe = table.apply(lambda column: column if is_numeric_dtype(column) else column.astype(object).map(defuse_formula))
    safe = safe.rename(columns=defuse_formula)
    text = safe.to_csv(index=False, header=header)
    # Python's csv module does not quote a lone carriage return before 3.13, and it would end the row.
    return safe.to_csv(index=False, header=header, quoting=csv.QUOTE_NONNUMERIC) if "\r" in text else text


def defuse_formula(cell: Any) -> Any:
    """A `'` in front of text that a spreadsheet would run as a formula; other cells as they are."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not _is_number(cell) else cell


def _restore(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and FORMULA.match(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_table(
    file: Path,
    key: str,
    columns: Sequence[str],
    synonyms: Mapping[str, re.Pattern[str]] | None = None,
    by_hand: bool = False,
) -> pd.DataFrame:
    """Read a csv file with all cells as strings; an empty cell is an empty string.

    A `'` in front of what a spreadsheet would run as a formula is removed; see `csv_text`.

    Args:
        file: Path of the csv file.
        key: Name of the file for the user, such as its setting, for the error.
        columns: Required columns; others are allowed.
        synonyms: Column -> other names that users give it, for the error.
        by_hand: Whether blanks around names and cells are no part of them.

    Raises:
        UserError: The file cannot be read, lacks columns or names one twice, or rows differ in length.
    """
    import pandas as pd

    try:  # the header is read as a row: otherwise pandas takes the first column of longer rows as an index
        content = read_regular_file(file)
        rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, header=None, index_col=False)
        lines = csv.reader(io.StringIO(content.decode(), newline=""))
        short = next((row for row in lines if 0 < len(row) < len(rows.columns)), None)  # pandas fills it
        if rows.map(lambda cell: "\0" in str(cell)).to_numpy().any():
            raise ValueError("it holds zero bytes, as a damaged file does; copy it again")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{key}: cannot read {file} ({str(error).strip()})") from error
    rows = rows.map(lambda cell: _restore(cell.strip() if by_hand and isinstance(cell, str) else cell))
    names = [str(name) for name in rows.iloc[0]]
    table = rows.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)
    if missing := [column for column in columns if column not in names]:
        separator = next((sign for sign in (";", "\t") if len(names) == 1 and sign in names[0]), None)
        hint = f"; its columns are separated by {separator!r}, save it with commas" if separator else ""
        hint = hint or _rename(names, missing, synonyms or {}) or did_you_mean(missing[0], names)
        raise UserError(
            f"{file}: no column {shorten(missing)}; found {shorten(names)}, expected {', '.join(columns)}{hint}"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UserError(f"{file}: column {shorten(twice)} occurs twice; remove one")
    if short is not None:
        raise UserError(
            f"{file}: found a row of {len(short)} cells ({shorten(short, 3)}), expected {len(names)}; complete it"
        )
    return table


def _rename(names: Sequence[str], missing: Sequence[str], synonyms: Mapping[str, re.Pattern[str]]) -> str:
    """What to do about columns that have other names than expected; empty if none does."""
    renamed = {}
    for column, others in ({name: re.compile(re.escape(name), re.I) for name in missing} | dict(synonyms)).items():
        if column not in names and (found := [name for name in names if others.fullmatch(name)]):
            renamed[found[0]] = column
    return "; rename " + ", ".join(f"{name} to {column}" for name, column in renamed.items()) if renamed else ""
