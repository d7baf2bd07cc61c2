import hashlib
import json
import shutil

from hemai.reporting.provenance_table import UNKNOWN, provenance_table
from hemai.runs.saved_run import SavedRun


def told(*folders):
    return dict(provenance_table([SavedRun(folder) for folder in folders]).itertuples(index=False))


def test_checkpoint_hardware_time_and_energy_are_those_of_the_run(small_run):
    folder, result = small_run
    rows = told(folder)
    assert hashlib.sha256((folder / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()[:16] in rows["checkpoint"]
    assert rows["training time"] == f"{result['seconds']:,.0f} s"
    assert "cores" in rows["hardware"] and rows["hardware"].endswith("no GPU used")
    cores = json.loads((folder / "provenance.json").read_text())["hardware"]["cores"]
    assert rows["energy"].startswith(f"about {result['seconds'] * cores * 10 / 3600:,.1f} Wh (assumes 10 W")
    assert rows["file of initial weights"] == "none"


def test_a_run_of_an_earlier_version_recorded_neither_code_nor_hardware(small_run, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(small_run[0], folder)
    (folder / "provenance.json").unlink()
    rows = told(folder)
    assert rows["code (git commit)"] == rows["hardware"] == rows["file of initial weights"] == UNKNOWN
    assert "energy" not in rows


def test_time_and_energy_of_several_runs_are_summed(small_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(small_run[0], other)
    rows = told(small_run[0], other)
    assert rows["training time, 2 runs together"] == f"{2 * small_run[1]['seconds']:,.0f} s"
    assert "energy, 2 runs together" in rows
