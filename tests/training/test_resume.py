"""A run that is killed and resumed ends bit by bit like one that was not."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train as script
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.training import callbacks
from hemai.utils.errors import UserError

ARGUMENTS = [
    "data.patients=9",
    "data.cells=200",
    "model.image_size=48",
    "model.plateau.patience=0",
    "transform=flips",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "data.batch_size=16",
    "patience=2",
    "save_every_n_steps=3",
    "report=false",
    "plots=false",
]

# Runs train.py, and kills its own process at the moment named by the first argument.
KILLED = """
import os, runpy, signal, sys
from pytorch_lightning.callbacks import Checkpoint
from hemai.training import callbacks

moment = sys.argv.pop(1)

class Kill(Checkpoint):
    def at(self, now):
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.at(f"batch {trainer.current_epoch} {batch_idx}")
    def on_validation_end(self, trainer, module):
        self.at(f"validation {trainer.current_epoch}")
    def on_train_epoch_end(self, trainer, module):
        self.at(f"epoch {trainer.current_epoch}")

build = callbacks.build_callbacks
callbacks.build_callbacks = lambda *a, **k: [*build(*a, **k), Kill()]
sys.argv[0] = os.environ["SCRIPT"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command, check=True):
    # One thread: the order of additions, and with it the last bit, depends on the number of threads.
    env = {**os.environ, "SCRIPT": str(Path(script.__file__)), "OMP_NUM_THREADS": "1"}
    root = str(Path(script.__file__).parent)
    env["PYTHONPATH"] = os.pathsep.join([root, env.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def state(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(script.__file__, *ARGUMENTS, f"run_dir={folder}")
    return folder


# In the first epoch, in a later one between two savings, after its last batch, before and after the
# epoch is saved, and when all is trained.
MOMENTS = ("batch 0 4", "batch 1 6", "batch 2 8", "validation 1", "epoch 1", "epoch 2")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_weights_figures_and_best_score(whole, tmp_path, moment):
    folder = tmp_path / "run"
    killed = run("-c", KILLED, moment, *ARGUMENTS, f"run_dir={folder}", check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    run(script.__file__, f"resume={folder}")
    for name in ("last", "best"):
        for part in ("state_dict", "optimizer_states", "plateau", "global_step"):
            assert same(state(whole, name)[part], state(folder, name)[part]), (name, part)
    for name in ("metrics.csv", "predictions_test.csv", "splits.csv"):
        assert (folder / name).read_text() == (whole / name).read_text()
    scores = [
        next(v for k, v in state(f)["callbacks"].items() if k.startswith("BestCheckpoint"))["best_model_score"]
        for f in (whole, folder)
    ]
    assert torch.equal(*scores)


@pytest.mark.slow
def test_so_does_one_with_a_schedule_a_frozen_part_averaged_weights_and_balanced_draws(tmp_path):
    arguments = [
        *(argument for argument in ARGUMENTS if "plateau" not in argument),
        "model=timm",
        "model.backbone=resnet10t",
        "model.freeze=backbone",
        "model.average_weights=0.9",
        "data.balance=group",
    ]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    run(script.__file__, *arguments, f"run_dir={whole}")
    run("-c", KILLED, "batch 1 6", *arguments, f"run_dir={folder}", check=False)
    run(script.__file__, f"resume={folder}")
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        assert same(state(whole)[part], state(folder)[part]), part
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.mark.slow
def test_a_finished_run_is_tested_again_and_not_trained_further(whole):
    before, metrics = state(whole)["state_dict"], (whole / "metrics.csv").read_text()
    result = (whole / "predictions_test.csv").read_text()
    run(script.__file__, f"resume={whole}")
    assert same(before, state(whole)["state_dict"])
    assert (whole / "metrics.csv").read_text() == metrics
    assert (whole / "predictions_test.csv").read_text() == result


@pytest.mark.parametrize(
    "override", ["data.split=image", "model.dropout=0.5", "data.batch_size=8", "seed=3", "model.image_size=64"]
)
def test_a_contradicting_override_is_refused(whole, override):
    with pytest.raises(UserError, match=override.split("=")[0] if "dropout" not in override else "unknown key"):
        parse_arguments([f"resume={whole}", override])


def test_the_trainer_may_change_on_resume(whole):
    arguments = parse_arguments([f"resume={whole}", "trainer.max_epochs=7"])
    assert compose(arguments)["trainer"]["max_epochs"] == 7
    assert compose(arguments)["data"]["cells"] == 200


def test_a_further_device_gets_arguments_that_it_can_check_again(whole):
    once = parse_arguments([f"resume={whole}", "+trainer.limit_test_batches=1"])
    assert parse_arguments(once) == once


def test_a_checkpoint_is_never_written_between_accumulated_batches(tmp_path):
    folder, accumulated = tmp_path / "run", [*ARGUMENTS, "trainer.accumulate_grad_batches=2"]
    run("-c", KILLED, "batch 0 4", *accumulated, f"run_dir={folder}", check=False)
    # save_every_n_steps=3 becomes 4: the next whole number of accumulations.
    loop = state(folder)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert loop["current"]["processed"] == 4


def test_images_that_changed_since_the_run_are_refused(tmp_path, draw_image):
    for patient in range(1, 7):
        draw_image(tmp_path / "images" / "all" / f"UID_{patient}_1_1_all.bmp")
        draw_image(tmp_path / "images" / "hem" / f"UID_H{patient}_1_1_hem.bmp")
    arguments = ["data=cnmc", f"data.root={tmp_path / 'images'}", "model.image_size=48", "trainer=debug"]
    script.train(compose([*arguments, f"run_dir={tmp_path / 'run'}"]), arguments)
    draw_image(tmp_path / "images" / "all" / "UID_7_1_1_all.bmp")
    with pytest.raises(UserError, match="12 images then, 13 now"):
        script.train(compose(parse_arguments([f"resume={tmp_path / 'run'}"])), [])


@pytest.mark.parametrize("content", [b"hello", b""])
def test_a_checkpoint_that_is_no_checkpoint_is_refused(whole, tmp_path, content):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt is damaged"):
        script.train(compose(parse_arguments([f"resume={tmp_path / 'run'}"])), [])


def test_a_run_that_moved_remembers_its_best_score(tmp_path):
    best = callbacks.BestCheckpoint(tmp_path / "new", "best", monitor="val/loss")
    old = {"best_model_score": torch.tensor(0.25), "best_k_models": {"/old/best.ckpt": torch.tensor(0.25)}}
    old |= {"dirpath": "/old", "best_model_path": "/old/best.ckpt", "kth_best_model_path": "/old/best.ckpt"}
    best.load_state_dict({**old, "current_score": None, "kth_value": torch.tensor(0.25), "last_model_path": ""})
    assert best.best_model_score == 0.25
    assert best.best_k_models == {str(tmp_path / "new" / "best.ckpt"): 0.25}


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not a run folder"):
        parse_arguments([f"resume={tmp_path / name}"])
