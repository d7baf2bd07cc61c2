"""Tables that are written in parts to csv, Parquet and Excel files, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from hemai.utils.errors import CONTROL, UserError
from hemai.utils.files import csv_text, defuse_formula, replace_file

PACKAGES = {".csv": "pandas", ".parquet": "pyarrow", ".xlsx": "openpyxl"}
XLSX_ROWS = 1_048_575  # the limit of Excel, less the header
WriteRows = Callable[[pd.DataFrame], None]


def check_table_file(path: Path, rows: int, option: str = "--out") -> None:
    """Fail early if a table cannot be written in the format that its suffix names.

    Raises:
        UserError: Another suffix, a package that is not installed, or more rows than the format holds.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKAGES:
        raise UserError(f"{option}: {path} ends in '{path.suffix}', expected .csv, .parquet or .xlsx")
    if find_spec(PACKAGES[suffix]) is None:
        raise UserError(f"{option}: {suffix} needs {PACKAGES[suffix]}; pip install 'hemai[tables]', or write a .csv")
    if suffix == ".xlsx" and rows > XLSX_ROWS:
        raise UserError(f"{option}: {rows:,} rows, but .xlsx holds {XLSX_ROWS:,}; write a .csv or .parquet")


@contextmanager
def open_table(path: Path) -> Iterator[WriteRows]:
    """Write a table in parts, atomically; see `replace_file`.

    The same rows give the same bytes; except in .xlsx, which holds the time.

    Args:
        path: File that ends in .csv, .parquet or .xlsx.

    Yields:
        Function that appends rows; the columns of the first call, and their types, hold for all.
    """
    with replace_file(path) as file, WRITERS[path.suffix.lower()](file) as write:
        yield write


@contextmanager
def _write_csv(file: BinaryIO) -> Iterator[WriteRows]:
    def write(rows: pd.DataFrame) -> None:
        file.write(csv_text(rows, header=file.tell() == 0).encode())

    yield write


@contextmanager
def _write_parquet(file: BinaryIO) -> Iterator[WriteRows]:
    import pyarrow as pa
    from pyarrow import parquet

    writer: Any = None

    def write(rows: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(rows, writer and writer.schema, preserve_index=False).replace_schema_metadata()
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _write_xlsx(file: BinaryIO) -> Iterator[WriteRows]:
    from openpyxl import Workbook

    book = Workbook(write_only=True)  # rows go to a temporary file
    sheet, is_empty = book.create_sheet("predictions"), True

    def write(rows: pd.DataFrame) -> None:
        nonlocal is_empty
        if is_empty:
            sheet.append([_cell(name) for name in rows.columns])
            is_empty = False
        for row in rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None):
            sheet.append([_cell(value) for value in row])

    try:
        yield write
    finally:
        sheet.close()
    book.save(file)


def _cell(value: Any) -> Any:
    """A cell that Excel neither refuses nor runs as a formula."""
    return CONTROL.sub("?", defuse_formula(value)) if isinstance(value, str) else value


WRITERS: dict[str, Callable[[BinaryIO], AbstractContextManager[WriteRows]]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xlsx": _write_xlsx,
}
