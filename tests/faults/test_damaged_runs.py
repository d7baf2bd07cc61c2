"""A damaged run folder gets one clear line from every verb, and nothing is written."""

import hashlib
import shutil

import pytest
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.utils.boundary import exit_on_user_error
from tests.faults.damaged_runs import DAMAGES
from tests.small_run import train


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(f"run_dir={folder}")
    return folder


@exit_on_user_error()
def _resume(run):
    arguments = parse_arguments([f"resume={run}"])
    script.train(compose(arguments), arguments)


def resume(run, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        _resume(run)
    return stopped.value.code, capsys.readouterr().err


def call(verb, run, image):
    out = run.parent / "out.csv"
    words = {"predict": [run, image, "--out", out], "report": [run]}.get(verb, [run, "--out", run.parent / "out"])
    done = CliRunner().invoke(app, [verb, *map(str, words)])
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.stderr


def contents(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        pytest.param(name, verb, id=f"{verb}: {name}", marks=[pytest.mark.slow] * (verb != verbs[-1]))
        for name, (_, verbs) in DAMAGES.items()
        for verb in verbs
    ],
)
def test_a_damaged_run_is_refused_in_one_line_and_left_as_it_is(
    name, verb, plain_run, tmp_path, draw_image, capsys, monkeypatch
):
    monkeypatch.delenv("HEMAI_RUN", raising=False)
    run, image = tmp_path / "run", draw_image(tmp_path / "cell.png")
    shutil.copytree(plain_run, run)
    DAMAGES[name][0](run)
    before = contents(tmp_path)
    code, message = resume(run, capsys) if verb == "resume" else call(verb, run, image)
    assert code == 2
    *notes, last = message.strip().splitlines()
    assert last.startswith("error: ") and len(last) < 700
    assert all(note.startswith(("predicting", "preparing", "drawing", "measuring")) for note in notes)
    assert contents(tmp_path) == before
