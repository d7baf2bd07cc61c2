import os
import subprocess
import sys
from pathlib import Path

import pytest

import train as script


@pytest.mark.slow
def test_the_wheel_trains_outside_the_checkout(tmp_path):
    checkout = Path(script.__file__).parent
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, checkout], check=True)
    wheel = next(tmp_path.glob("hemai-*.whl"))
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    command = [
        sys.executable,
        "-m",
        "hemai",
        "train",
        "data.patients=9",
        "data.cells=60",
        "trainer=debug",
        "run_dir=run",
    ]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "run" / "result.json").is_file()
    assert (tmp_path / "run" / "report.html").is_file()  # its templates are in the wheel
    where = [sys.executable, "-c", "import hemai; print(hemai.__file__)"]
    path = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(path.strip()).is_relative_to(installed)
