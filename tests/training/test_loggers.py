"""Loggers and callbacks of a run, by configuration."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train as script
from hemai.settings.compose import compose
from hemai.training.loggers import StageTensorBoardLogger, build_loggers, log_image
from hemai.training.trainer import AtomicCheckpointIO, build_trainer
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train

IMAGE = np.zeros((8, 8, 3), np.uint8)


def test_several_loggers_at_once_and_callbacks_by_name(tmp_path):
    train(
        f"run_dir={tmp_path / 'run'}",
        "logger=[tensorboard,csv]",
        "callbacks=[learning_rate]",
        "+trainer.log_every_n_steps=1",
    )
    rows = pd.read_csv(tmp_path / "run" / "csv" / "version_0" / "metrics.csv")
    assert {"train/loss", "val/accuracy", "test/accuracy", "lr-Adam"} <= set(rows.columns)
    assert {path.name for path in (tmp_path / "run" / "tensorboard").iterdir()} == {"steps", "train", "val", "result"}


def test_without_logger_and_plots_nothing_is_drawn(tmp_path):
    train(f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert not (tmp_path / "run" / "figures").exists()
    assert (tmp_path / "run" / "metrics.csv").is_file()


def test_the_tensorboard_has_one_writer_a_stage_and_epochs_from_1(tmp_path):
    logger = StageTensorBoardLogger(str(tmp_path))
    for epoch in range(2):
        logger.log_metrics({"train/loss": 1.0, "val/loss": 2.0, "val/auroc": float("nan"), "epoch": epoch}, step=50)
    logger.log_metrics({"lr-Adam": 0.1}, step=7)
    log_image([logger], "val/confusion_matrix", IMAGE, 2)
    logger.finalize("success")
    found = {}
    for stage in ("steps", "train", "val"):
        events = EventAccumulator(str(tmp_path / "tensorboard" / stage))
        events.Reload()
        found[stage] = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {"train": {"loss": [1, 2]}, "val": {"loss": [1, 2]}, "steps": {"lr-Adam": [7]}}
    assert events.Tags()["images"] == ["confusion_matrix"]


def test_steps_that_a_resumed_run_repeats_replace_the_old_ones(tmp_path):
    for epochs in ((0, 1, 2), (1, 2)):
        time.sleep(1.1)  # files are read in the order of their names, which hold the second
        logger = StageTensorBoardLogger(str(tmp_path))
        for epoch in epochs:
            logger.log_metrics({"train/loss": float(len(epochs)), "epoch": epoch})
        logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "train"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 3), (2, 2), (3, 2)]


def test_wandb_writes_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("first", "second"):  # as in a sweep, in one process
        train(f"run_dir={tmp_path / name}", "plots=true", "logger=wandb", "logger.wandb.offline=true")
        [run] = (tmp_path / name / "wandb").glob("offline-run-*")
        assert list(run.glob("*.wandb"))
        assert list(run.rglob("*.png"))


def test_mlflow_writes_its_data_base(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = train("run_dir=run", "plots=true", "logger=mlflow")
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    [experiment] = [e for e in client.search_experiments() if e.name == "hemai"]
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["test/accuracy"] == pytest.approx(result["test/accuracy"])
    assert run.data.params["model/backbone"] == "custom_cnn"
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["result", "train", "val"]


def test_a_logger_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", False)
    with pytest.raises(UserError, match=r"logger.wandb: .*pip install 'hemai\[wandb\]'"):
        train(f"run_dir={tmp_path / 'run'}", "logger=wandb")
    assert not (tmp_path / "run").exists()


def test_what_the_user_gives_the_trainer_is_taken(tmp_path):
    settings = compose(SMALL).trainer
    given = {
        "callbacks": [{"_target_": "pytorch_lightning.callbacks.Timer", "duration": "00:00:10:00"}],
        "plugins": [{"_target_": "pytorch_lightning.plugins.io.TorchCheckpointIO"}],
        "logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path / "mine")},
        "default_root_dir": str(tmp_path / "root"),
        "enable_progress_bar": True,
        "enable_model_summary": False,
    }
    config = OmegaConf.merge(OmegaConf.create(OmegaConf.to_container(settings, resolve=True)), given)
    own = pl.callbacks.LearningRateMonitor()
    trainer = build_trainer(config, [own], build_loggers(compose([]).logger, tmp_path), tmp_path)
    kinds = [type(callback).__name__ for callback in trainer.callbacks]
    assert {"LearningRateMonitor", "Timer", "RichProgressBar"} <= set(kinds)
    assert "RichModelSummary" not in kinds
    assert [type(logger).__name__ for logger in trainer.loggers] == ["CSVLogger"]
    assert trainer.default_root_dir == str(tmp_path / "root")
    assert not isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


SCORE = """
from hydra.experimental.callback import Callback

class PrintScore(Callback):
    def on_job_end(self, config, job_return, **kwargs):
        print("score", job_return.return_value)
"""


def test_train_py_returns_the_monitored_score_to_a_sweeper(tmp_path):
    (tmp_path / "print_score.py").write_text(SCORE)
    path = os.pathsep.join([str(tmp_path), str(Path(script.__file__).parent)])
    small = [*SMALL, "trainer.max_epochs=1", "run_dir=run"]
    done = subprocess.run(
        [sys.executable, script.__file__, *small, "+hydra.callbacks.score._target_=print_score.PrintScore"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    score = next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("score"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert score == pytest.approx(result["val/loss"], abs=1e-6) == result["score"]
