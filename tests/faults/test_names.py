"""Names from outside, of files, patients and classes, stay text wherever they go."""

import csv
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.data import FolderDataset
from hemai.data.images import find_images
from hemai.evaluation.predictions import Predictions
from hemai.reporting.document import Section, write_report
from hemai.reporting.templating import escape_markdown
from hemai.settings.compose import compose
from hemai.training.crossvalidation import _Folds
from hemai.utils.boundary import exit_on_user_error
from hemai.utils.errors import UserError
from hemai.utils.files import csv_text, read_table
from hemai.utils.terminal import show_table
from tests.small_run import SMALL

FORMULAS = ["=cmd|' /C calc'!A0", "+1-2", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=x", "''=x"]
TEXTS = ["'x", "x=1", " =1", "a\nb", "a\r\nb", 'q"', "a,b", "a;b", "50 %", "{{ 7 }}", "é_日本", "NA", "", "[bold]"]
NUMBERS = ["-5", "+1e3", "-0.5", "-inf", "7"]  # also the names of patients

MARKDOWN = MarkdownIt("commonmark").enable("table")  # rich brings it


def written(tmp_path, table):
    (tmp_path / "t.csv").write_bytes(csv_text(table).encode())
    return tmp_path / "t.csv"


def test_a_csv_file_has_no_cell_that_a_spreadsheet_would_run(tmp_path):
    file = written(tmp_path, pd.DataFrame({"=name": [*FORMULAS, *TEXTS], "number": -0.5}))
    with open(file, newline="", encoding="utf-8") as content:
        cells = [cell for row in csv.reader(content) for cell in row]
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell != "-0.5"] == []


@pytest.mark.parametrize("texts", [[*FORMULAS, *TEXTS, *NUMBERS], TEXTS[:3] + NUMBERS], ids=["all", "plain"])
def test_reading_gives_back_every_cell(tmp_path, texts):
    table = pd.DataFrame({"=name": texts, "group": texts[::-1]})
    assert read_table(written(tmp_path, table), "t", ["=name"]).equals(table.astype(str))


def test_numbers_and_plain_names_are_written_as_ever(tmp_path):
    table = pd.DataFrame(
        {"patient": [*NUMBERS, "'x", "P1"], "value": range(7), "share": pd.array([1, *[None] * 6], "Int64")}
    )
    assert csv_text(table) == table.to_csv(index=False)


def test_the_threshold_of_a_fold_is_chosen_on_predictions_with_the_names_of_the_inner_runs(tmp_path):
    table = pd.DataFrame({"path": ["=1.png", "b.png"], "label": ["a", "b"], "group": ["NA", "'-x"]})
    settings = {"data": SimpleNamespace(folds=2), "trainer": SimpleNamespace(max_epochs=1)}
    config = SimpleNamespace(seed=0, monitor=None, **settings)
    folds = _Folds(config, table.assign(fold=""), (), tmp_path, ["data.folds=2"], "kfold", 1)
    splits = [pd.Series(["train", "val"]), pd.Series(["val", "train"])]
    plans = folds.runs(0, 0, splits, is_nested=True)
    for number in range(2):
        name, _ = next(plans)
        inner = Predictions(table.iloc[[number]], np.array([[1.0, 2.0]]), ("a", "b"), ())
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "predictions_val.csv").write_text(inner.to_csv(), "utf-8")
    next(plans)
    [file] = tmp_path.glob("inner/*/predictions.csv")
    assert read_table(file, "predictions", ["path"])[["path", "label", "group"]].equals(table)


def test_predictions_are_read_as_they_were_written(tmp_path):
    table = pd.DataFrame({"path": ["=1.png", "-b.png"], "label": ["=a", "@b"], "group": ["+x", "-5"]})
    predictions = Predictions(table, np.array([[1.0, -2.0], [0.5, 3.0]]), ("=a", "@b"), ("@b",))
    (tmp_path / "p.csv").write_text(predictions.to_csv(), "utf-8")
    read = read_table(tmp_path / "p.csv", "p", ["path", "logit/=a", "logit/@b"])
    assert read[["path", "label", "group"]].equals(table)
    assert read["logit/=a"].astype(float).tolist() == [1.0, 0.5]


def tokens(page):
    return [part for token in MARKDOWN.parse(page) for part in [token, *(token.children or [])]]


@pytest.mark.parametrize(
    "text", ["<script>x</script>", "[x](http://e)", "![x](http://e)", "&lt;b&gt;", "*a* **b**", "a\\*", "a|b", "a\n# b"]
)
def test_markdown_shows_a_name_as_it_is(text):
    for page in (escape_markdown(text), f"| h |\n|---|\n| {escape_markdown(text)} |"):
        shown = [token.content for token in tokens(page) if token.type.startswith("text")]
        assert "".join(shown).removeprefix("h") == text.replace("\n", " ")


def test_no_name_ends_the_code_of_a_report(tmp_path):
    write_report(tmp_path, "t", [Section("S", code="run_dir='a\n```\n<script>'")])
    blocks = [token.type for token in tokens((tmp_path / "report.md").read_text("utf-8"))]
    assert blocks.count("fence") == 1 and "html_block" not in blocks


def test_a_run_with_strange_names_is_trained_reported_and_predicted(draw_image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["=cmd()", "é_日本", "[bold]x[-1]", "q'u\"o", "a,b;c %d", "{{ 7 }}", "new\nline", "$x^$", "\x1b[31m"]
    labels = ["=<b>a", "[red]|b"]
    files = [
        draw_image(tmp_path / "data" / label / f"-P{number}" / f"{name}.png")
        for label in labels
        for number, name in enumerate([*names, "n" * 251])
    ]
    out = tmp_path / "run"
    settings = ["data=folder", "data.root=data", r"data.pattern=([^/]+/-P\d+)/", "data.positive=['=<b>a']"]
    settings += [*SMALL[2:], f"run_dir={out}", "report=true", "plots=true"]
    script.train(compose(settings), settings)
    splits = read_table(out / "splits.csv", "splits", ["path", "label", "group"])
    assert sorted(splits["path"]) == sorted(file.relative_to(tmp_path / "data").as_posix() for file in files)
    assert set(splits["label"]) == set(labels)
    page, text, card = ((out / name).read_text("utf-8") for name in ("report.html", "report.md", "model_card.md"))
    assert "<b>a" not in page and "&lt;b&gt;a" in page
    assert not {"html_block", "html_inline"} & {token.type for token in [*tokens(text), *tokens(card)]}
    assert "&lt;b>a" in text and "&lt;b>a" in card
    done = CliRunner().invoke(app, ["predict", str(out), "data", "--out", "p.csv"])
    assert done.exit_code == 0, done.output
    assert "\x1b[31m" not in done.output
    assert set(read_table(tmp_path / "p.csv", "p", ["path"])["path"]) == set(splits["path"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
class TestNamesThatAreNotUTF8:
    @pytest.fixture
    def folder(self, draw_image, tmp_path):
        for label in ("a", "b"):
            odd = tmp_path / "data" / label / os.fsdecode(b"P1_\xff.png")
            draw_image(odd.with_name("1.png")).rename(odd)
        return tmp_path / "data"

    def test_a_data_set_names_them(self, folder):
        with pytest.raises(UserError, match=r"not UTF-8: .*/a/P1_\\xff\.png, .*; rename them"):
            FolderDataset(folder)

    def test_predict_names_them(self, folder):
        with pytest.raises(UserError, match=r"not UTF-8: .*P1_\\xff\.png"):
            find_images([str(folder)])

    def test_an_argument_is_named(self, tmp_path):
        root = os.fsencode(tmp_path) + b"/\xff"
        done = subprocess.run([sys.executable, "-m", "hemai", "prepare", b"data.root=" + root], capture_output=True)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: names that are not UTF-8: data.root=") and rb"\xff" in done.stderr


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_accents_work_in_any_locale(draw_image, tmp_path, locale):
    for label in ("blást", "normal"):
        for number in range(3):
            draw_image(tmp_path / "data" / label / f"é_日本{number}.png")
    done = subprocess.run(
        [sys.executable, "-m", "hemai", "prepare", "data=folder", f"data.root={tmp_path / 'data'}"],
        env=os.environ | locale,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert ("blást" if "LC_ALL" in locale else r"bl\xe1st").encode() in done.stdout


def test_no_name_commands_the_terminal(capsys):
    show_table(pd.DataFrame({"\x1b[1m": ["\x1b[31mred"]}))
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError("no image in \x1b[31mred")
    printed = capsys.readouterr()
    assert "?[31mred" in printed.out and "no image in ?[31mred" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_a_list_of_names_with_accents_needs_quotes_and_that_is_said():
    with pytest.raises(UserError, match=r"quotes around names .*data\.positive=\['ALL \(B\)'\]"):
        compose(["data=folder", "data.root=x", "data.positive=[blást]"])
