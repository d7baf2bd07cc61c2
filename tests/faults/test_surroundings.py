"""Unlucky surroundings of a command: closed streams, a deleted working directory, two commands in one folder."""

import errno
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import train as script
from hemai.evaluation.class_mapping import read_class_names
from hemai.reporting.document import Section, Table, write_report
from hemai.reporting.provenance_table import _seconds
from hemai.runs import hold
from hemai.runs.provenance import read_provenance
from hemai.settings.run_folder import RunFolder, read_settings
from hemai.utils.checksums import check_files
from hemai.utils.errors import UserError
from hemai.utils.failures import explain_failure
from hemai.utils.files import read_table
from hemai.utils.terminal import _explain_thread, show_table
from tests.faults.test_deaths import hear_signals
from tests.small_run import train

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
    command = f'exec 3>{tmp_path / "out"} 2>&- 0<&-; {sys.executable} -c "{code}" >&3'
    subprocess.run(command, shell=True, env=CLEAN, check=True)
    assert int((tmp_path / "out").read_text("utf-8")) > 2


def test_a_deleted_working_directory_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell('cd gone && rmdir ../gone && "$@" report run', cwd=tmp_path)
    assert done.returncode == 2
    assert "the working directory" in done.stderr and "Traceback" not in done.stderr


def test_of_two_trainings_in_one_folder_the_second_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0)
    first, second = (hold.hold_run_folder(RunFolder(tmp_path)) for _ in range(2))
    with first, pytest.raises(UserError, match="another training writes to"), second:
        pytest.fail("two trainings would write the same checkpoint")
    with hold.hold_run_folder(RunFolder(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_of_two_resumes_of_one_run_the_second_is_refused(tmp_path):
    train(f"run_dir={tmp_path / 'run'}")
    with hold.hold_run_folder(RunFolder(tmp_path / "run")):
        command = [sys.executable, script.__file__, f"resume={tmp_path / 'run'}", "trainer.max_epochs=3"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "another training writes to" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EIO, errno.ENOTDIR])
def test_a_file_that_the_system_refuses_is_named(number):
    sentence = explain_failure(OSError(number, os.strerror(number), "/data/x"))
    assert "/data/x" in sentence and os.strerror(number) in sentence


def test_class_names_that_python_takes_for_one_are_shown_apart(tmp_path, capsys):
    names = ["e\u0301", "\u00e9"]  # both are \u00e9 to Python, composed and not
    frame = pd.DataFrame([["all", 1, 2]], columns=["split", *names])
    show_table(frame)
    assert all(name in capsys.readouterr().out for name in names[1:])
    write_report(tmp_path, "Run", [Section("Data", tables=[Table(frame)])])
    assert all(name in (tmp_path / "report.md").read_text("utf-8") for name in names)


def test_a_table_with_zero_bytes_is_damaged(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path,group\na.png,\0\0\nb.png,1\n")
    with pytest.raises(UserError, match="cannot read .* zero bytes"):
        read_table(tmp_path / "t.csv", "data.csv", ["path", "group"])


def test_a_run_dir_that_is_a_link_to_nowhere_is_named(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="link to nowhere"):
        train(f"run_dir={tmp_path / 'run'}")


def test_a_library_for_which_memory_is_short_is_named():
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    assert "allow more memory" in explain_failure(error)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_ends_a_command_without_a_traceback(name):
    code = (
        "import os, signal, sys, threading\n"
        "from hemai.utils.boundary import exit_on_user_error, stop_on_signals\n"
        "stop_on_signals()\n"
        "with exit_on_user_error():\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "    finally:\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, preexec_fn=hear_signals)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_thread_that_finds_the_disk_full_says_so_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(threading, "excepthook", _explain_thread)

    def write():
        raise OSError(errno.ENOSPC, "No space left on device")

    (thread := threading.Thread(target=write)).start()
    thread.join()
    assert "warning: the disk is full" in (shown := capsys.readouterr().err) and "Traceback" not in shown


@pytest.mark.parametrize("content", ["", "[1", "[]", "{}", '{"seconds": []}', "[" * 100_000], ids=range(6))
def test_a_damaged_result_is_refused_or_left_out_but_no_traceback(tmp_path, content):
    (tmp_path / "result.json").write_text(content, "utf-8")
    run = SimpleNamespace(folder=RunFolder(tmp_path))
    if content == "{}":
        assert math.isnan(_seconds(run))
        return
    with pytest.raises(UserError, match=r"result\.json"):
        _seconds(run)


def test_provenance_that_is_nested_without_end_is_left_out(tmp_path):
    (tmp_path / "provenance.json").write_text("[" * 100_000, "utf-8")
    assert read_provenance(RunFolder(tmp_path)) == {}


@pytest.mark.parametrize(
    "blocks", ["[1]", "5", "null", "{}", '{"file": 5}', '{"other": [1]}', "[" * 100_000], ids=range(7)
)
def test_damaged_checksums_count_as_damage(tmp_path, blocks):
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "checksums.json").write_text(f'{{"checked": {{}}, "blocks": {blocks}}}', "utf-8")
    with pytest.raises(ValueError, match=r"checksums\.json"):
        check_files(tmp_path, ["file"])


@pytest.mark.parametrize("file", ["t.csv", "classes.yaml", ".hydra/config.yaml"])
def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / file)
    readers = {
        "t.csv": lambda: read_table(tmp_path / file, "data.csv", ["path"]),
        "classes.yaml": lambda: read_class_names(str(tmp_path / file)),
        ".hydra/config.yaml": lambda: read_settings(tmp_path),
    }
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(readers[file])
        try:
            error = reading.exception(timeout=5)
        except TimeoutError:
            (tmp_path / file).open("wb").close()  # lets the reader go
            raise
    assert isinstance(error, UserError) and "a pipe or a device" in str(error)


@pytest.mark.parametrize("setting", [f"seed={2**32}", "data.split=[1]", "data.split=3"])
def test_a_setting_of_another_kind_or_size_is_named(setting):
    with pytest.raises(UserError, match=f"{setting.partition('=')[0]}=.*expected"):
        train(setting)


def test_a_closed_pipe_that_rich_finds_ends_the_command_with_141():
    code = (
        "import time; from hemai.utils.boundary import exit_on_user_error; from hemai.utils.terminal import say\n"
        "with exit_on_user_error():\n    time.sleep(1)\n    say('table')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN
    ) as it:
        it.stdout.close()
        assert it.stderr.read() == b""
    assert it.returncode == 141
