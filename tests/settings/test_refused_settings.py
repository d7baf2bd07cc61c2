import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train as script
from hemai.utils.errors import UserError
from tests.small_run import train


@pytest.mark.parametrize("override", ["data.batch_size=1", "data.batch_size=0"])
def test_a_batch_of_one_with_batchnorm_is_refused_before_anything_is_written(tmp_path, override):
    with pytest.raises(UserError, match="batch_size"):
        train(f"run_dir={tmp_path / 'run'}", "model.backbone=resnet18", "model.options=null", override)
    assert not (tmp_path / "run").exists()


def test_16_bit_floats_on_a_cpu_are_an_error_and_not_another_precision(tmp_path):
    with pytest.raises(UserError, match="needs a GPU"):
        train(f"run_dir={tmp_path / 'run'}", "trainer.precision=16-mixed")


@pytest.mark.parametrize(
    "override",
    [
        "trainer.check_val_every_n_epoch=5",
        "trainer.limit_train_batches=0",
        "+trainer.fast_dev_run=true",
        "+trainer.foo=1",
        "+model.foo=1",
        "+data.foo=1",
        "trainer.precision=bf16-true",
        "trainer.max_epochs=1.5",
        "trainer.accumulate_grad_batches=0",
        "model.class_weights=[1,-1]",
        "model.class_weights=ab",
        "model.sd=[0,0,0]",
        "model.mean=[0.5]",
        "model.mean=[.nan,0,0]",
        "model.average_weights=nan",
        "model.average_weights=2",
        "model.label_smoothing=nan",
        "model.label_smoothing=-0.1",
        "model.optimizer.weight_decay=-1",
        "model.optimizer.lr=inf",
        "model.freeze_epochs=-1",
        "model.plateau.patience=-1",
        "model.class_weights=[nan,1]",
        "model.class_weights=[inf,1]",
        "model.loss={name: fokal}",
        "model.loss={name: focal, gama: 1}",
        "model.loss={name: focal, gamma: -1}",
        "trainer.gradient_clip_val=-1",
        "trainer.gradient_clip_val=nan",
        "trainer.max_epochs=0",
        "trainer.strategy=ddp_spawn",
        "data.seed=nan",
        "data.split=null",
        "data.split=-1",
        "data.split={0: 0}",
        "callbacks={0: 0}",
        "callbacks=[1,2]",
        "seed={0: 0}",
        "monitor={a: {b: 1}}",
        "data.add_segmented_twins=null",
        "model.backbone=-1",
        "model.optimizer.opt=null",
        "model.plateau.patience=null",
        "model._target_=null",
        "trainer.accumulate_grad_batches=null",
        "find=-1",
        "model.average_weights=[]",
        "monitor=-1",
        "threshold.validation=-1",
        "data.num_workers=-1",
        "data.fold=-1",
        "data.folds=1",
        "data.max_megapixels=0",
        "patience=nan",
        "patience=0",
        "save_every_n_steps=0",
        "logger=wand",
        "+logger.mine._target_=nothing.Logger",
        "+logger.mine=1",
        "+callbacks.mine=1",
        "+callbacks.mine._target_=os.getcwd",
        "+trainer.callbacks=5",
        "trainer.max_epochs=null",
        "+callbacks.mine._target_=nothing.Callback",
        "model.plateau.factor=2",
        "model.options.drop_rate=7",
        "model.optimizer.opt=adm",
        "monitor=val/los",
        "data.val_share=0",
        "data.val_share=1",
        "data.val_share=.nan",
        "data.val_share=null",
        "data.test_share=-0.1",
        "transform.prepare=[]",
        "seed=-1",
        "threshold=null",
        "threshold.rule=yuden",
        "threshold.sensitivity=null",
        "threshold.sensitivity=2",
        "threshold.confidence=0.4",
        "threshold.confidence=1",
        "threshold.confidence={0: 0}",
        "threshold={rule: youden, sensitivity: 0.9, confidence: 0.9}",
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_is_written(tmp_path, override):
    with pytest.raises(UserError):
        train(f"run_dir={tmp_path / 'run'}", override)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(UserError, match="run"):
            train(f"run_dir={tmp_path / folder}", "trainer=debug")


def test_a_missing_gpu_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="trainer"):
        train("trainer.accelerator=gpu")


def test_a_mistake_on_the_command_line_ends_at_once_without_traceback(tmp_path):
    command = [sys.executable, str(Path(script.__file__)), "data.batchsize=4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == 2
    assert "did you mean 'data.batch_size'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
