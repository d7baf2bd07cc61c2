"""`hemai predict` killed, and on several processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train as script
from tests.small_run import train

pytestmark = pytest.mark.slow
ROOT = Path(script.__file__).parent
# Blocks of 16 images; a process with the rank of KILL_RANK is killed when it has stored two of them.
PROGRAM = """
import os, signal
from hemai.runs import inference, prediction_job, streaming
prediction_job.BLOCK, streaming.BATCH, inference.BATCH = 16, 8, 8
save, saved = prediction_job.PredictionJob.save, []
def save_and_die(job, *arguments):
    save(job, *arguments)
    saved.append(1)
    if len(saved) == 2 and os.environ.get("RANK", "0") == os.environ.get("KILL_RANK"):
        os.kill(os.getpid(), signal.SIGKILL)
prediction_job.PredictionJob.save = save_and_die
from hemai.cli import app
app()
"""
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, its 150 cells, the program, and the table that one process writes."""
    folder = tmp_path_factory.mktemp("processes")
    train(f"run_dir={folder / 'run'}", f"data.root={folder / 'cells'}", "trainer.max_epochs=1")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = start(folder, [], "whole.csv")
    assert done.returncode == 0, done.stderr
    return folder


def start(place, launcher, out, **environment):
    command = [sys.executable, *launcher, "program.py", "predict", "run", "cells", "--pattern", r"UID_(H?\d+)_"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment}
    return subprocess.run([*command, "--out", out], cwd=place, env=environment, capture_output=True, text=True)


def assert_whole(place, name):
    for ending in ("", "_groups"):
        expected = (place / f"whole{ending}.csv").read_bytes()
        assert (place / f"{name}{ending}.csv").read_bytes() == expected
    assert not list(place.glob(f"{name}*.part"))


def test_a_killed_command_goes_on_with_the_same_bytes(place):
    killed = start(place, [], "killed.csv", KILL_RANK="0")
    assert killed.returncode == -signal.SIGKILL
    assert not (place / "killed.csv").exists()
    done = start(place, [], "killed.csv")
    assert done.returncode == 0, done.stderr
    assert "predicting 150 images, 32 of them before" in done.stderr
    assert_whole(place, "killed")


@pytest.mark.parametrize("count", [2, 3])
def test_processes_of_torchrun_write_the_bytes_of_one(place, count):
    done = start(place, [*TORCHRUN, str(count)], f"shared{count}.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert_whole(place, f"shared{count}")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_dies_is_told_and_the_command_goes_on_when_it_is_repeated(place, rank):
    dead = start(place, [*TORCHRUN, "2"], f"dead{rank}.csv", KILL_RANK=rank)
    assert dead.returncode != 0
    assert f"rank      : {rank}" in dead.stderr and "SIGKILL" in dead.stderr
    assert not (place / f"dead{rank}.csv").exists()
    done = start(place, [*TORCHRUN, "2"], f"dead{rank}.csv")
    assert done.returncode == 0, done.stderr
    assert_whole(place, f"dead{rank}")


def test_a_mistake_ends_all_processes(place):
    done = start(place, [*TORCHRUN, "2"], "whole.csv")
    assert done.returncode != 0
    assert "whole.csv already exists" in done.stderr
