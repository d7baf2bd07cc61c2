import pytest

from hemai.reporting.comparison import find_runs
from tests.finished_runs import compare, compared, run_writer, words


@pytest.fixture
def runs(tmp_path):
    return run_writer(tmp_path)


@pytest.mark.parametrize("columns", [60, 100, 150, 300])
def test_a_terminal_of_any_width_shows_all_figures(runs, tmp_path, columns):
    cnmc = ["experiment=report_custom_cnn", f"data.root={tmp_path}"]
    runs("cnmc-custom_cnn/2026-01-01_10-00-00", *cnmc, groups_shared=118, groups=118)
    runs("iranian-nasnet_mobile/2026-01-02_10-00-00", "data=iranian", *cnmc[1:], "model=nasnet_mobile", groups=3)
    runs("synthetic-custom_cnn/2026-01-03_10-00-00", "seed=1", "transform=augmented", "model.label_smoothing=0.1")
    printed = compare(tmp_path / "runs", columns=columns).stdout
    table = [line for line in printed.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= max(columns, 91)  # a run's number and eight figures need no more
    row = {60: "2", 100: "2", 150: "iranian-nasnet_mobile/2026-01-02_10-00-00"}.get(columns)
    figures = ["†3", "0", "0.8000", "0.7000", "0.9000", "0.5000", "0.7500"]
    assert row is None or [row, *figures] in map(str.split, table)
    assert row != "2" or "\n2 iranian-nasnet_mobile/2026-01-02_10-00-00: data=iranian, split=group" in printed
    for text in ("0.8838", "*118", "nasnet_mobile", "experiment=report_custom_cnn", "model.label_smoothing=0.1"):
        assert text in printed
    assert "…" not in printed


def test_the_same_table_is_written_as_markdown(runs, tmp_path):
    runs("a|b", "transform=flips", groups_shared=14)
    runs("c", result=None)
    _, _ = compared(tmp_path / "runs", out=tmp_path / "out")
    lines = (tmp_path / "out" / "comparison.md").read_text().splitlines()
    assert lines[0].startswith("| run | data | split | model | transform | start |")
    assert "published" not in lines[0]  # nothing to tell
    assert lines[2].startswith(
        "| a\\|b | synthetic | group | custom_cnn | flips | random | 0 | 25 | 255,230 | 1,600 | 20 | 14 |"
    )
    assert lines[2].endswith("| groups shared |")
    columns = {line.replace("\\|", "").count("|") for line in lines[:4]}
    assert len(columns) == 1
    assert "- groups occur in more than one split" in lines[5]


def test_a_folder_above_is_searched_and_each_run_is_listed_once(runs, tmp_path, monkeypatch):
    folders = [runs(name) for name in ("x/2", "x/1", "y/3")]
    (folders[0] / "figures").mkdir()
    monkeypatch.chdir(tmp_path)
    found = find_runs([tmp_path / "runs" / "y", tmp_path / "runs", folders[0]])
    assert found == [folders[2], folders[1], folders[0]]
    assert find_runs([type(tmp_path)("runs/x")]) == [folders[1], folders[0]]


def test_nothing_is_overwritten(runs, tmp_path):
    run, out = runs("a"), tmp_path / "out"
    assert compare(run, "--out", out).exit_code == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (out / "comparison.csv").unlink()
    done = compare(run, "--out", out)
    assert done.exit_code == 2
    assert words(done.stderr) == f"error: --out: {out}/comparison.md already exists; choose another folder"
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {"comparison.md": before["comparison.md"]}
    assert compare(run, "--out", run / "result.json").exit_code == 2


@pytest.mark.parametrize(
    "file, content, told",
    [
        (None, None, "is not a run folder (no .hydra/config.yaml in it or below)"),
        ("result.json", "{", "result.json (Expecting property name"),
        ("result.json", '{"test/images": 3}', "cannot be read as a hemai run (KeyError"),
        (".hydra/config.yaml", "a: 1", "expected its _target_ in data"),
        (".hydra/config.yaml", "a: [", "cannot read"),
    ],
)
def test_a_folder_that_is_no_run_is_told(runs, tmp_path, file, content, told):
    run = runs("a")
    if file:
        (run / file).write_text(content)
    done = compare(run if file else tmp_path / "elsewhere")
    assert done.exit_code == 2
    assert told in words(done.stderr)


def test_a_place_that_cannot_be_written_is_told(runs, tmp_path):
    (tmp_path / "file").write_text("")
    done = compare(runs("a"), "--out", tmp_path / "file" / "below")
    assert done.exit_code == 2
    assert "--out: cannot write" in done.stderr
