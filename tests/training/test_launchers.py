"""What torchrun and SLURM set in the environment, and what a Trainer makes of it."""

import pytest
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.runs.processes import cluster_environment
from hemai.runs.start import RUN_DIR_ENV, claim_run_folder
from hemai.settings.compose import compose
from hemai.training.trainer import build_trainer
from hemai.utils.errors import UserError
from tests.small_run import SMALL

SLURM = {"NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "2"}
ENVIRONMENTS = {
    "slurm": {f"SLURM_{name}": value for name, value in SLURM.items()} | {"SLURM_JOB_NAME": "cells"},
    "torchrun": TORCHRUN | {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
}


@pytest.fixture(params=ENVIRONMENTS)
def launcher(request, monkeypatch, tmp_path):
    """The first of two processes of a launcher, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENTS[request.param].items():
        monkeypatch.setenv(name, value)
    return request.param


def trainer_of(folder, *overrides):
    return build_trainer(compose([*SMALL, *overrides]).trainer, [], [], folder)


def test_the_processes_of_a_launcher_are_those_of_the_trainer(launcher, tmp_path):
    trainer = trainer_of(tmp_path, "trainer.num_nodes=2")
    assert (trainer.world_size, trainer.num_nodes, trainer.num_devices) == (2, 2, 1)


@pytest.mark.parametrize("overrides", [[], ["trainer.devices=3"], ["trainer.num_nodes=3"]])
def test_another_number_of_processes_is_refused(launcher, tmp_path, overrides):
    with pytest.raises(UserError, match=r"starts 2 processes, expected trainer.num_nodes=\d times|You set `"):
        trainer_of(tmp_path, *overrides)


def test_the_first_of_several_processes_creates_no_folder_that_the_others_do_not_know(launcher, tmp_path):
    with pytest.raises(UserError, match="set run_dir"), claim_run_folder(compose(SMALL), "cells"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ["run_dir", "resume"])
def test_every_process_takes_the_folder_of_its_settings_not_one_that_an_earlier_training_left_behind(
    launcher, tmp_path, monkeypatch, setting
):
    monkeypatch.setenv(RUN_DIR_ENV, str(tmp_path / "earlier"))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    config = compose(SMALL)
    config[setting] = str(tmp_path / "own")
    with claim_run_folder(config, "cells") as run:
        assert run.folder == tmp_path / "own"
    config[setting] = None
    with pytest.raises(UserError, match="set run_dir"), claim_run_folder(config, "cells"):
        pass


def test_slurm_leaves_no_checkpoint_that_would_be_tested_for_the_best_one(monkeypatch, tmp_path):
    for name, value in ENVIRONMENTS["slurm"].items():
        monkeypatch.setenv(name, value)
    trainer = trainer_of(tmp_path, "trainer.num_nodes=2")
    assert trainer.strategy.cluster_environment.auto_requeue is False


def test_variables_of_slurm_that_lack_one_are_told(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "cells")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(UserError, match="SLURM: .*--ntasks-per-node=2"):
        cluster_environment()
