"""Several processes on one CPU stand for several devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import train as script
from tests.same_figures import assert_same_figures, figures

ARGUMENTS = [
    "data.patients=9",
    "data.cells=157",
    "model.image_size=48",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "data.batch_size=24",
    "report=false",
    "plots=false",
]
pytestmark = pytest.mark.slow


def train(*arguments):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script.__file__, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices") / "run"
    train(*ARGUMENTS, f"run_dir={folder}")
    return folder


def test_one_checkpoint_gives_the_same_figures_on_1_2_and_3_processes(run):
    one = figures(run)
    for devices in (2, 3):
        train(f"resume={run}", f"trainer.devices={devices}")
        assert_same_figures(figures(run), one)


def test_two_processes_train_on_the_batches_of_one(tmp_path):
    # Without dropout the two differ by the rounding of averaged gradients alone.
    shared = [*ARGUMENTS, "model.options.drop_rate=0"]
    train(*shared, f"run_dir={tmp_path / 'one'}")
    output = train(*shared, f"run_dir={tmp_path / 'two'}", "trainer.devices=2")
    assert output.count("result of the best checkpoint") == 1
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert one["train/images"] == two["train/images"]
    assert two["test/loss"] == pytest.approx(one["test/loss"], abs=2e-3)


def test_a_sweep_makes_a_run_folder_for_each_job(tmp_path):
    command = [sys.executable, str(Path(script.__file__)), "-m", *ARGUMENTS, "seed=0,1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    runs = [path.parent for path in (tmp_path / "lightning_logs").rglob("result.json")]
    assert len(runs) == 2
    results = [json.loads((folder / "result.json").read_text()) for folder in runs]
    assert results[0]["test/loss"] != results[1]["test/loss"]
