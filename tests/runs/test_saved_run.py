import importlib.metadata
import shutil

import pytest

from hemai.runs import build
from hemai.runs.saved_run import load_run
from hemai.utils.errors import UserError


@pytest.mark.parametrize("path", ["", None, 3])
def test_no_path_is_refused(path):
    with pytest.raises(UserError, match="expected the folder of a finished run, or a .ckpt"):
        load_run(path)


@pytest.mark.parametrize("split, told", [("train", r"it has test, val"), ("Test", "did you mean 'test'")])
def test_a_split_without_predictions_is_told_with_those_that_exist(small_run, split, told):
    with pytest.raises(UserError, match=f"has no {split} predictions.*{told}"):
        load_run(small_run[0]).predictions(split)


def test_a_notebook_shows_a_report_without_running_its_scripts(small_run, tmp_path):
    folder = shutil.copytree(small_run[0], tmp_path / "run")
    (folder / "report.html").write_text('<script>alert("hello")</script>')
    shown = load_run(folder)._repr_html_()
    assert shown.startswith("<iframe sandbox srcdoc=") and "<script" not in shown


def test_a_run_records_the_versions_of_what_is_installed(monkeypatch):
    monkeypatch.setattr(build, "PACKAGES", ("numpy", "no-such-package"))
    assert build._versions().keys() == {"hemai", "numpy"}
    assert build._versions()["numpy"] == importlib.metadata.version("numpy")
