"""No two runs share a folder, and a run that does not start leaves none behind."""

import threading

import pytest
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.runs.build import build_data
from hemai.runs.start import claim_run_folder, start_run
from hemai.settings.compose import compose
from hemai.training import launch
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train


def at_once(count, work):
    """Results of `work(i)`, or its `UserError`, of threads that start together."""
    ready, results = threading.Barrier(count), [None] * count

    def start(i):
        ready.wait()
        try:
            results[i] = work(i)
        except UserError as error:
            results[i] = error

    threads = [threading.Thread(target=start, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(here):
    config = compose(SMALL)

    def claim(i):
        with claim_run_folder(config, "cells") as run:
            return run.folder

    folders = at_once(12, claim)
    assert len(set(folders)) == 12
    assert all(folder.parent == here / "lightning_logs" / "cells-custom_cnn" for folder in folders)


def test_of_two_runs_with_the_same_run_dir_one_is_refused(here):
    configs = [compose([*SMALL, "run_dir=run", f"seed={seed}"]) for seed in range(2)]
    data = build_data(configs[0])
    data.setup()

    def start(i):
        with claim_run_folder(configs[i], "cells") as run:
            both.wait()  # both have found the folder free
            start_run(run, configs[i], [f"seed={i}"], data)
            return i

    both = threading.Barrier(2)
    results = at_once(2, start)
    [refused] = [result for result in results if isinstance(result, UserError)]
    assert "run already exists and is not empty; choose another name, or continue that run" in str(refused)
    [started] = [result for result in results if result is not refused]
    assert (here / "run" / ".hydra" / "overrides.yaml").read_text() == f"- seed={started}\n"


def test_an_empty_folder_may_become_a_run(here):
    (here / "run").mkdir()
    config = compose([*SMALL, "run_dir=run"])
    data = build_data(config)
    data.setup()
    with claim_run_folder(config, "cells") as run:
        start_run(run, config, [], data)
    assert (here / "run" / "splits.csv").is_file()


def test_a_run_with_a_wrong_setting_leaves_no_folder(here):
    with pytest.raises(UserError, match="monitor=val/recal is not a metric"):
        train("monitor=val/recal")
    assert list(here.iterdir()) == []


def test_the_folders_of_other_runs_stay_when_a_run_fails(here):
    config = compose(SMALL)
    with claim_run_folder(config, "cells") as first:
        pass
    with pytest.raises(KeyboardInterrupt), claim_run_folder(config, "cells"):
        raise KeyboardInterrupt
    assert [path for path in here.rglob("*") if path.is_dir() and not any(path.iterdir())] == [first.folder]


def test_a_training_that_fails_in_python_leaves_no_folder(here, monkeypatch):
    monkeypatch.setattr(launch, "TRAIN", ("false",))
    with pytest.raises(UserError, match="failed with status 1"):
        launch.train("data.patients=9", "data.cells=60")
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_reported(here):
    (here / "lightning_logs").write_text("a file")
    with (
        pytest.raises(UserError, match="cannot write the run folder .*; set run_dir"),
        claim_run_folder(compose(SMALL), "cells"),
    ):
        pass


def test_the_process_of_a_further_device_writes_into_the_folder_of_the_first(here, monkeypatch):
    with claim_run_folder(compose(SMALL), "cells") as first:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with claim_run_folder(compose(SMALL), "cells") as second:
            assert second == first


def test_the_process_of_a_further_device_never_removes_the_folder(here, monkeypatch):
    with claim_run_folder(compose(SMALL), "cells") as first:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
    with pytest.raises(KeyboardInterrupt), claim_run_folder(compose(SMALL), "cells"):
        raise KeyboardInterrupt
    assert first.folder.is_dir()


def test_with_another_launcher_all_processes_use_run_dir(here, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.delenv("HEMAI_RUN", raising=False)
    (here / "run").mkdir()
    (here / "run" / "splits.csv").touch()  # the first process was faster
    with claim_run_folder(compose([*SMALL, "run_dir=run"]), "cells") as run:
        assert run.folder.name == "run"
    with (
        pytest.raises(UserError, match="do not know each other's run folder; set run_dir"),
        claim_run_folder(compose(SMALL), "cells"),
    ):
        pass
