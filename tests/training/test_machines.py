"""Two processes on two ports, each of which knows its launcher's variables alone, stand for two machines."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train as script
from hemai.settings.run_folder import RunFolder
from tests.same_figures import assert_same_figures, figures

pytestmark = pytest.mark.slow
ROOT = Path(script.__file__).parent
# The training process with the rank of KILL_RANK is killed in its fifth step, in the second epoch.
PROGRAM = """
import os, signal
from hemai.models.classifier import CellClassifier
training_step = CellClassifier.training_step
def step_or_die(self, batch, batch_idx):
    if self.global_step == 4 and str(self.global_rank) == os.environ.get("KILL_RANK"):
        os.kill(os.getpid(), signal.SIGKILL)
    return training_step(self, batch, batch_idx)
CellClassifier.training_step = step_or_die
from hemai.cli import app
app()
"""
SETTINGS = [
    "data.patients=9",
    "data.cells=150",
    "data.batch_size=32",
    "model.image_size=48",
    "model.options.drop_rate=0",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "report=false",
    "plots=false",
]
MACHINES = ["trainer.num_nodes=2"]
LAUNCHERS = ["torchrun", "slurm"]


def start(place, arguments, launcher=None, **environment):
    """Run the command on one machine, or on two that the launcher connects; exit status and stderr of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for node in ["0", "1"] if launcher else ["0"]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
        options = []
        if launcher == "torchrun":
            options = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}"]
            options += ["--master-addr=127.0.0.1", f"--master-port={port}"]
        if launcher == "slurm":  # what srun sets
            env |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_NODELIST": "here"}
            env |= {"SLURM_PROCID": node, "SLURM_NODEID": node, "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7"}
            env |= {"SLURM_JOB_NAME": "cells", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, *options, "program.py", *arguments]
        started.append(subprocess.Popen(command, cwd=place, env=env, stderr=subprocess.PIPE, text=True))
    done = [(process.communicate(timeout=200)[1], process.returncode) for process in started]
    return [status for _, status in done], [stderr for stderr, _ in done]


def train(place, *arguments, launcher=None, **environment):
    status, stderr = start(place, ["train", *arguments], launcher, **environment)
    assert set(status) == {0}, stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the program, 150 drawn cells, and a run of one machine."""
    folder = tmp_path_factory.mktemp("machines")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    train(folder, *SETTINGS, "data.root=cells", "run_dir=one")
    return folder


def steps(folder):
    return torch.load(RunFolder(folder).last, weights_only=True)["global_step"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_machines_train_test_and_go_on_after_one_died(place, launcher):
    shared = [*SETTINGS, "data.root=cells", *MACHINES]
    train(place, *shared, f"run_dir={launcher}", launcher=launcher)
    assert steps(place / launcher) == steps(place / "one")
    found, expected = (figures(place / name)[0] for name in (launcher, "one"))
    assert found["train/images"] == expected["train/images"]
    # BatchNorm averages half a batch on each machine.
    assert found["test/loss"] == pytest.approx(expected["test/loss"], abs=0.02)

    killed = place / f"{launcher}_killed"
    status, stderr = start(place, ["train", *shared, f"run_dir={killed}"], launcher, KILL_RANK="1")
    assert 0 not in status
    assert f"continue with resume={killed}" in stderr[0]
    train(place, f"resume={killed}", launcher=launcher)
    assert_same_figures(figures(killed), figures(place / launcher))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_one_checkpoint_gives_the_same_figures_on_two_machines(place, launcher):
    one = figures(place / "one")
    train(place, "resume=one", *MACHINES, launcher=launcher)
    assert_same_figures(figures(place / "one"), one)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_machines_predict_the_bytes_of_one(place, launcher):
    arguments = ["predict", "one", "cells", "--out"]
    for file, kind in (("alone.csv", None), (f"{launcher}.csv", launcher)):
        status, stderr = start(place, [*arguments, file, "--overwrite"], kind)
        assert set(status) == {0}, stderr
    assert (place / f"{launcher}.csv").read_bytes() == (place / "alone.csv").read_bytes()


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (MACHINES, "error: the processes were started by another launcher"),
        (["run_dir=wrong"], "error: torchrun or srun starts 2 processes"),
    ],
)
def test_a_mistake_ends_both_machines(place, launcher, arguments, expected):
    status, stderr = start(place, ["train", *SETTINGS, "data.root=cells", *arguments], launcher)
    assert 0 not in status
    assert expected in stderr[0]
    assert not (place / "wrong").exists()
