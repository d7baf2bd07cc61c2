"""Unlucky surroundings of a command: closed streams, a deleted working directory, two commands in one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEMAI = [sys.executable, "-c", "from hemai.cli import app; app()"]
ROOT = Path(__file__).parents[2]
CLEAN = os.environ | {"PYTHONPATH": str(ROOT)}


def shell(command, **options):
    """A command as a shell runs it; `"$@"` is hemai."""
    return subprocess.run(["sh", "-c", command, "sh", *HEMAI], capture_output=True, text=True, env=CLEAN, **options)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_with_closed_streams(closed):
    done = shell(f'"$@" networks --help {closed}')
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_no_file_is_opened_in_the_place_of_a_closed_stream(tmp_path):
    code = f"from hemai.utils.encoding import use_utf8; use_utf8(); print(open({str(tmp_path / 'x')!r}, 'w').fileno())"
    command = f"exec 3>{tmp_path / 'out'} 2>&- 0<&-; {sys.executable} -c \"{code}\" >&3"
    subprocess.run(command, shell=True, env=CLEAN, check=True)
    assert int((tmp_path / "out").read_text("utf-8")) > 2


def test_a_deleted_working_directory_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell('cd gone && rmdir ../gone && "$@" report run', cwd=tmp_path)
    assert done.returncode == 2
    assert "the working directory" in done.stderr and "Traceback" not in done.stderr
