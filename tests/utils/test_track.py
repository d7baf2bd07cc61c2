import itertools

from hemai.utils import terminal


def test_without_a_terminal_progress_is_a_line_a_minute_with_rate_and_time_left(monkeypatch, capsys):
    seconds = itertools.count(0, 20)  # every item takes 20 s
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(seconds))
    assert list(terminal.track(range(4), "predicting", total=110, done=10)) == [0, 1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["predicting", "predicting: 13 of 110, 0.1/s, 32 min left"]  # (110 - 13) * 20 s
