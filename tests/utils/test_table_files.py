import pandas as pd
import pytest

from hemai.utils.errors import UserError
from hemai.utils.table_files import XLSX_ROWS, check_table_file, open_table

PARTS = [
    pd.DataFrame({"path": ["a", "=1+1"], "probability": [0.1, float("nan")], "error": ["", "bad\x07"]}),
    pd.DataFrame({"path": ["c"], "probability": [1 / 3], "error": [""]}),
]


@pytest.fixture(params=[".csv", ".parquet", ".xlsx"])
def file(request, tmp_path):
    pytest.importorskip({".parquet": "pyarrow", ".xlsx": "openpyxl"}.get(request.param, "pandas"))
    return tmp_path / f"table{request.param}"


def write(file, parts=PARTS):
    with open_table(file) as write_rows:
        for part in parts:
            write_rows(part)


def read(file):
    return {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".xlsx": pd.read_excel}[file.suffix](file)


def test_parts_become_one_table_with_all_digits(file):
    write(file)
    table = read(file)
    assert table["path"].str.lstrip("'").tolist() == ["a", "=1+1", "c"]
    assert table["probability"].fillna(-1).tolist() == [0.1, -1, 1 / 3]
    assert table["error"].fillna("").str.startswith("bad").tolist() == [False, True, False]


def test_a_spreadsheet_runs_no_cell(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    write(tmp_path / "table.xlsx")
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "table.xlsx").active for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("1.csv", "2.csv", "1.parquet", "2.parquet"):
        write(tmp_path / name)
    for suffix in ("csv", "parquet"):
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


def test_an_interrupted_table_leaves_nothing(file):
    def stop():
        yield PARTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(file, stop())
    assert list(file.parent.iterdir()) == []


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    check_table_file(tmp_path / "a.CSV", 10**9)
    with pytest.raises(UserError, match=r"ends in '\.txt', expected \.csv, \.parquet or \.xlsx"):
        check_table_file(tmp_path / "a.txt", 1)
    monkeypatch.setattr("hemai.utils.table_files.find_spec", lambda name: None if name == "pyarrow" else name)
    with pytest.raises(UserError, match=r"needs pyarrow; pip install 'hemai\[tables\]'"):
        check_table_file(tmp_path / "a.parquet", 1)
    check_table_file(tmp_path / "a.xlsx", XLSX_ROWS)
    with pytest.raises(UserError, match="1,048,576 rows, but .xlsx holds 1,048,575"):
        check_table_file(tmp_path / "a.xlsx", XLSX_ROWS + 1)
