import sys

import pytest

from hemai.training import launch
from hemai.utils.errors import UserError


@pytest.mark.parametrize("arguments, settings", [([["data=cnmc"]], {}), ([3], {}), ([], {"data": "cnmc"})])
def test_settings_that_are_not_strings_are_refused(arguments, settings):
    with pytest.raises(UserError, match=r"expected strings, such as train\(\"data=cnmc\""):
        launch.train(*arguments, **settings)


def test_the_error_of_a_failed_training_is_repeated(monkeypatch, tmp_path, capfd):
    code = "print('error: first'); print('error: the disk is full'); print('later'); raise SystemExit(2)"
    monkeypatch.setattr(launch, "TRAIN", (sys.executable, "-c", code))
    monkeypatch.setenv("HEMAI_RUN", "")
    with pytest.raises(UserError, match="failed with status 2: the disk is full$"):
        launch.train("data.patients=9", "data.cells=60", f"run_dir={tmp_path / 'run'}")
    assert "later" in capfd.readouterr().out
