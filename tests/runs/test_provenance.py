import json
import subprocess

import pytest

from hemai.runs.hardware import describe_hardware, estimate_energy
from hemai.runs.provenance import file_checksum, git_commit


def git(folder, *arguments):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    package = tmp_path / "clone" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    return package


def test_the_code_of_a_clone_is_named_by_its_commit(clone):
    assert git_commit(clone) == git(clone, "rev-parse", "HEAD")


def test_changes_that_are_not_committed_are_told(clone):
    (clone / "__init__.py").write_text("changed = True")
    assert git_commit(clone) == git(clone, "rev-parse", "HEAD") + ", with uncommitted changes"


def test_an_installed_package_has_no_commit_even_inside_another_repository(clone, tmp_path):
    installed = clone.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert git_commit(installed) is None
    assert git_commit(tmp_path) is None


def test_without_git_there_is_no_commit(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit(clone) is None


def test_a_checksum_is_that_of_sha256sum(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert file_checksum(file) == "ba7816bf8f01cfea"  # FIPS 180-2, appendix B.1


def test_hardware_is_plain_values_and_lists_no_gpu_that_is_not_used():
    hardware = describe_hardware(uses_gpu=False)
    assert json.loads(json.dumps(hardware)) == hardware
    assert hardware["gpus"] == [] and hardware["cores"] >= 1 and hardware["cpu"]


def test_energy_is_time_by_the_assumed_watts_of_cores_or_of_gpus_that_are_used():
    cpu = {"cores": 4, "gpus": []}
    assert estimate_energy(3600, cpu, 1)[0] == pytest.approx(40)  # 4 cores of 10 W for an hour
    gpus = {"cores": 64, "gpus": ["one", "two"]}
    energy, assumption = estimate_energy(1800, gpus, 1)
    assert energy == pytest.approx(155)  # a GPU of 300 W with a core of 10 W for half an hour
    assert "300 W" in assumption and "not measured" in assumption
