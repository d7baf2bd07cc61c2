"""Trainings that are killed, stopped or starved end in words."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train as script
from hemai.utils.boundary import exit_on_user_error
from hemai.utils.errors import UserError
from hemai.utils.failures import explain_failure
from tests.small_run import SMALL, train

COMMAND = [sys.executable, script.__file__, *SMALL, "trainer.max_epochs=2000"]


def hear_signals():
    """In a new process: signals that nohup or a background shell ignores would be ignored there too."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(run, *arguments):
    """A long training in a process of its own, with a first checkpoint."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = [*COMMAND, f"run_dir={run}", *arguments]
    training = subprocess.Popen(command, text=True, preexec_fn=hear_signals, **streams)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert training.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    return training


def child_of(process):
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_a_stopped_training_says_how_to_resume(tmp_path, name):
    training = start(tmp_path / "run")
    training.send_signal(getattr(signal, name))
    _, message = training.communicate(timeout=60)
    assert training.returncode == 2
    assert f"stopped by the user; continue with resume={tmp_path / 'run'}" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_the_death_of_one_process_ends_the_other_in_seconds_with_words(tmp_path):
    training = start(tmp_path / "run", "trainer.devices=2")
    os.kill(child_of(training), signal.SIGKILL)
    _, message = training.communicate(timeout=20)
    assert training.returncode != 0
    assert "another process of this training died" in message or "terminated with code -9" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path):
    command = [*COMMAND, f"run_dir={tmp_path / 'run'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        assert training.stdout.readline()
        training.stdout.close()
        message = training.stderr.read()
    assert training.returncode == 141
    assert "Traceback" not in message and "BrokenPipe" not in message


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_exhausted_memory_names_batch_size_and_workers(error):
    assert "data.batch_size" in explain_failure(error) and "data.num_workers" in explain_failure(error)


def test_another_error_is_no_failure_of_the_machine():
    assert explain_failure(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_a_disk_that_fills_while_tensorboard_writes_says_how_to_resume(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hemai.training.loggers.SummaryWriter.add_scalar", full)
    with pytest.raises(SystemExit), exit_on_user_error():
        train(f"run_dir={tmp_path / 'run'}", "logger=tensorboard")
    assert "the disk is full" in (message := capsys.readouterr().err)
    assert "nothing was saved yet" in message or "resume=" in message


def test_errors_that_caused_each_other_are_looked_at_once():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert explain_failure(first) is None
    second.__cause__ = UserError("do this")
    assert explain_failure(first) == "do this"
