"""hemai installed from its wheel, and a project of somebody else on top of it, outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import train as script

CHECKOUT = Path(script.__file__).parent
SMALL = ["trainer=debug", "plots=false"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with hemai and the example project, each from its wheel."""
    folder = tmp_path_factory.mktemp("installed")
    wheels = folder / "wheels"
    for source in (CHECKOUT, CHECKOUT / "examples" / "smears"):
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", wheels, source]
        subprocess.run(build, check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder / "site"]
    subprocess.run([*pip, *wheels.glob("*.whl")], check=True)
    return folder / "site"


@pytest.fixture
def run(installed, tmp_path):
    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        done = subprocess.run(
            [sys.executable, "-m", "hemai", *map(str, command)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_wheel_trains_outside_the_checkout(run, installed, tmp_path):
    run("train", "data.patients=9", "data.cells=60", *SMALL, "run_dir=run")
    assert (tmp_path / "run" / "result.json").is_file()
    assert (tmp_path / "run" / "report.html").is_file()  # its templates are in the wheel
    run("report", "run", "--checklist", "claim")  # and the items of the checklists
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = [sys.executable, "-c", "import hemai; print(hemai.__file__)"]
    path = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(path.strip()).is_relative_to(installed)


def test_a_project_brings_its_own_data_network_transform_logger_and_callback(run, tmp_path, draw_image):
    shutil.copytree(CHECKOUT / "examples" / "smears" / "conf", tmp_path / "conf")
    for patient in range(1, 7):
        for cell in range(4):
            for label in ("normal", "blast"):
                draw_image(tmp_path / "cells" / f"P{patient + 20 * (label == 'blast'):02}_{cell}_{label}.png")
    shown = run("train", "--config-dir", "conf", "experiment=smears", "data.root=cells", *SMALL, "run_dir=run")
    assert "smears, split=group" in shown
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    best = (tmp_path / "run" / "report.md").read_text()
    assert "smears.network.tiny_net" in best
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("val/accuracy" in row for row in logged)
    # The run folder names their classes, and its packages are known by their entry point: no --trust, no --config-dir.
    run("evaluate", "run", "--out", "evaluated")
    evaluated = json.loads((tmp_path / "evaluated" / "result.json").read_text())
    assert evaluated["test/loss"] == pytest.approx(result["test/loss"], abs=1e-5)
    run("predict", "run", "cells", "--out", "predictions.csv")
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 48
    run("train", "resume=run", "trainer.max_epochs=6")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 6
