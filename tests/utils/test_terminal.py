import pandas as pd
import pytest

from hemai.utils.terminal import build_table, fits, say, show_table

FRAME = pd.DataFrame(
    [["a name of many words [bold]", "x", "1,234,567.8"], ["b", "y $", "2"]],
    columns=["name", "class", "images\na second"],
)


@pytest.mark.parametrize("width", [20, 40, 200])
def test_numbers_are_never_cut_off_and_markup_is_text(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(FRAME, "a title longer than twenty characters", texts=2)
    printed = capsys.readouterr().out
    assert printed.startswith("a title longer than twenty characters\n")
    assert "1,234,567.8" in printed and "…" not in printed
    assert "[bold]" in " ".join(printed.split())


def test_text_stands_left_and_numbers_right(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    show_table(FRAME, texts=2)
    first, second = (line.rstrip() for line in capsys.readouterr().out.splitlines() if "x" in line or "$" in line)
    assert first.index("x") == second.index("y")
    assert len(first) == len(second)


def test_a_table_fits_if_nothing_must_be_folded(monkeypatch):
    for width, expected in ((60, True), (40, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        assert fits(build_table(FRAME, texts=2)) is expected


def test_sentences_are_printed_as_they_are(capsys):
    say("[red]x[/red] :smile:", "a" * 300)
    assert capsys.readouterr().out == f"- [red]x[/red] :smile:\n- {'a' * 300}\n"
