"""hemai's classes with a bare Lightning Trainer give what train.py gives."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import albumentations as A
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from torch.utils.data import DataLoader

import train as script
from hemai.data import CellDataModule, FolderDataset, Synthetic
from hemai.models.classifier import CellClassifier
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

EPOCHS = 2


@pytest.fixture
def run(small_run):
    return small_run


@pytest.fixture
def data():
    return CellDataModule(Synthetic, ImagePipeline([A.Resize(48, 48, interpolation=3)]), cells=150, patients=9)


@pytest.fixture
def model():
    pl.seed_everything(0, verbose=False)
    options = {"img_size": 48, "drop_rate": 0.25}
    plateau = {"factor": 0.5, "patience": 5}
    return CellClassifier("custom_cnn", ["all", "hem"], ["all"], image_size=48, options=options, plateau=plateau)


def trainer(**options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": "callbacks" in options, "num_sanity_val_steps": 0}
    return pl.Trainer(**{"accelerator": "cpu", "max_epochs": EPOCHS, **quiet, **options})


def state(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def assert_metrics(found, result, split):
    named = {name: value for name, value in found.items() if name.startswith(f"{split}/")}
    assert len(named) >= 10
    for name, value in named.items():
        expected = math.nan if result[name] is None else result[name]
        assert float(value) == pytest.approx(expected, abs=1e-6, nan_ok=True), name


def test_fit_trains_the_weights_of_train_py(run, data, model):
    bare = trainer()
    bare.fit(model, datamodule=data)
    assert same(model.state_dict(), state(run[0] / "checkpoints" / "last.ckpt"))
    last = pd.read_csv(run[0] / "metrics.csv").iloc[-1]
    for name in ("train/loss", "train/accuracy", "val/loss", "val/auroc"):
        assert float(bare.callback_metrics[name]) == pytest.approx(last[name], abs=1e-6)


def test_validate_and_test_give_its_metrics_under_the_names_of_the_splits(run, data, model):
    folder, result = run
    best = {"ckpt_path": folder / "checkpoints" / "best.ckpt", "weights_only": True, "verbose": False}
    [found] = trainer().validate(model, datamodule=data, **best)
    assert_metrics(found, result, "val")
    found = trainer().test(model, datamodule=data, **best)
    assert_metrics(found[0], result, "test")
    assert not any(name.startswith("val/") for name in found[0])
    [found] = trainer().test(model, data.eval_dataloader("test"), **best)
    assert_metrics(found, result, "test")
    [found] = trainer().test(model, data.eval_dataloader("val"), **best)  # of these images, whatever loop runs
    assert_metrics(found, result, "val")


def test_predict_gives_index_logits_and_probabilities(run, data, model):
    best = run[0] / "checkpoints" / "best.ckpt"
    batches = trainer().predict(model, datamodule=data, ckpt_path=best, weights_only=True)
    written = pd.read_csv(run[0] / "predictions_test.csv")
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(len(written)))
    for key, columns in (("logits", "logit"), ("probabilities", "probability")):
        found = torch.cat([batch[key] for batch in batches]).double()
        expected = torch.tensor(written[[f"{columns}/all", f"{columns}/hem"]].to_numpy())
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_fit_with_loaders_alone_trains_the_same(run, data, model):
    data.setup()
    trainer().fit(model, data.train_dataloader(), data.val_dataloader())
    assert same(model.state_dict(), state(run[0] / "checkpoints" / "last.ckpt"))


def test_fit_with_batches_of_somebody_else(model):
    images = torch.randint(0, 256, (12, 3, 48, 48), dtype=torch.uint8)
    items = [{"image": image, "target": i % 2, "index": i} for i, image in enumerate(images)]
    bare = trainer(max_epochs=1)
    bare.fit(model, DataLoader(items, batch_size=4), DataLoader(items, batch_size=4))
    assert torch.isfinite(bare.callback_metrics["val/loss"])
    [found] = bare.test(model, DataLoader(items, batch_size=4), verbose=False)
    assert found["test/accuracy"] == pytest.approx(float(bare.callback_metrics["test/accuracy"]))


def test_a_schedule_needs_an_end_and_steps_are_one(data):
    schedule = {"schedule": {"sched": "cosine", "warmup_epochs": 0}, "options": {"img_size": 48}, "image_size": 48}
    model = CellClassifier("custom_cnn", ["all", "hem"], ["all"], **schedule)
    trainer(max_epochs=-1, max_steps=4).fit(model, datamodule=data)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] < 3e-4
    with pytest.raises(UserError, match="max_epochs or max_steps"):
        trainer(max_epochs=-1).fit(model, datamodule=data)


def test_loaders_before_setup_are_refused_in_words(data):
    with pytest.raises(UserError, match="call setup"):
        data.train_dataloader()


def test_two_test_sets_of_one_name_stay_apart(model, data):
    data.setup()
    other = CellDataModule(Synthetic, ImagePipeline([A.Resize(48, 48)]), cells=60, patients=9)
    other.setup()
    sets = [data.eval_dataloader("test"), other.eval_dataloader("test")]
    alone = [trainer().test(model, each, verbose=False)[0]["test/loss"] for each in sets]
    both = {name: value for found in trainer().test(model, sets, verbose=False) for name, value in found.items()}
    assert [both["test/loss"], both["test_1/loss"]] == pytest.approx(alone)


def test_a_sanity_check_moves_no_plateau_and_a_loaded_one_starts_anew(model, data, tmp_path):
    sanity = trainer(num_sanity_val_steps=2, enable_checkpointing=True, default_root_dir=tmp_path)
    sanity.fit(model, datamodule=data)
    assert model.plateau.last_epoch == EPOCHS
    sanity.save_checkpoint(tmp_path / "last.ckpt")
    loaded = CellClassifier.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True, plateau={"factor": 0.1})
    trainer(max_epochs=1).fit(loaded, datamodule=data)
    assert (loaded.plateau.factor, loaded.plateau.last_epoch) == (0.1, 1)


class StopAt(Callback):
    def __init__(self, epoch, batch):
        self.moment = (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.moment:
            raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bare_trainer_resumes_exactly_in_mid_epoch(run, data, model, tmp_path, workers):
    data.num_workers = workers
    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(SystemExit):
        trainer(callbacks=[save, StopAt(1, 1)]).fit(model, datamodule=data)
    stopped = tmp_path / "step=4.ckpt"
    assert stopped.is_file() and not (tmp_path / "step=5.ckpt").exists()
    fresh = CellClassifier(**model.hparams)
    trainer().fit(fresh, datamodule=data, ckpt_path=stopped, weights_only=True)
    assert same(fresh.state_dict(), state(run[0] / "checkpoints" / "last.ckpt"))


def test_a_bare_trainer_resumes_exactly_after_the_last_batch_of_an_epoch(run, data, model, tmp_path):
    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(callbacks=[save], max_epochs=1).fit(model, datamodule=data)
    fresh, bare = CellClassifier(**model.hparams), trainer()
    bare.fit(fresh, datamodule=data, ckpt_path=tmp_path / "step=3.ckpt", weights_only=True)
    assert same(fresh.state_dict(), state(run[0] / "checkpoints" / "last.ckpt"))
    last = pd.read_csv(run[0] / "metrics.csv").iloc[-1]
    for name in ("train/loss", "val/loss"):
        assert float(bare.callback_metrics[name]) == pytest.approx(last[name], abs=1e-6)


class ListLogger(Logger):
    """A logger of somebody else."""

    def __init__(self):
        self.rows, self.settings = [], {}

    name, version = "list", "0"

    def log_metrics(self, metrics, step=None):
        self.rows.append(dict(metrics))

    def log_hyperparams(self, params, *args, **kwargs):
        self.settings |= dict(params)


def test_loggers_and_callbacks_of_others_are_served(data, model):
    logger = ListLogger()
    options = {"enable_checkpointing": False, "max_epochs": 1, "log_every_n_steps": 1}
    trainer(logger=logger, callbacks=[LearningRateMonitor()], **options).fit(model, datamodule=data)
    logged = set().union(*logger.rows)
    assert {"train/loss", "train/recall", "val/specificity", "val/recall/hem", "lr-Adam"} <= logged
    assert logger.settings["backbone"] == "custom_cnn"


def test_each_test_set_is_logged_under_its_name(model, tmp_path, draw_image):
    for patient in range(6):
        for cell in range(3):
            label = ("all", "hem")[patient % 2]
            draw_image(tmp_path / label / f"P{patient}_{cell}.png")
    rows = [(p.relative_to(tmp_path).as_posix(), p.parent.name, p.name[:2]) for p in sorted(tmp_path.rglob("*.png"))]
    table = pd.DataFrame(rows, columns=["path", "label", "group"])
    table["fold"] = table["group"].map(lambda group: "elsewhere" if group in ("P4", "P5") else "")
    table.to_csv(tmp_path / "cells.csv", index=False)
    dataset = FolderDataset(str(tmp_path), csv=str(tmp_path / "cells.csv"))
    dataset.external = ("elsewhere",)
    data = CellDataModule(dataset, ImagePipeline([A.Resize(48, 48)]), split="image")
    found = trainer().test(model, datamodule=data, verbose=False)
    names = set().union(*found)
    assert {"test/accuracy", "elsewhere/accuracy"} <= names
    assert len(data.predict_dataloader()) == 2


def test_a_data_set_that_is_made_already_takes_no_further_arguments():
    with pytest.raises(UserError, match="existing data set"):
        CellDataModule(Synthetic(None, cells=150, patients=9), ImagePipeline([]), cells=100)
    with pytest.raises(UserError, match="CellDataset"):
        CellDataModule(dict, ImagePipeline([]))


TWO_DEVICES = """
import sys
import albumentations as A
import pytorch_lightning as pl
import torch
from hemai.models.classifier import CellClassifier
from hemai.data import CellDataModule, Synthetic
from hemai.transforms import ImagePipeline

class Seen(pl.Callback):
    def __init__(self):
        self.indices = []
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.indices += batch["index"].tolist()
    def on_train_epoch_end(self, trainer, pl_module):
        everything = [None, None]
        torch.distributed.all_gather_object(everything, self.indices)
        if trainer.is_global_zero:
            print("seen", *sorted(sum(everything, [])))

data = CellDataModule(Synthetic, ImagePipeline([A.Resize(48, 48, interpolation=3)]), cells=150, patients=9)
data.setup()
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, callbacks=[Seen()], **quiet)
source = {"datamodule": data} if sys.argv[2] == "datamodule" else {"train_dataloaders": data.train_dataloader()}
model = CellClassifier.load_from_checkpoint(sys.argv[1], weights_only=True)
metrics = trainer.test(model, data.eval_dataloader("val"), verbose=False)[0]  # an odd number of images
if trainer.is_global_zero:
    print("loss", metrics["val/loss"])
trainer.fit(model, **source)
if trainer.is_global_zero:
    print("train", len(data.rows["train"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["datamodule", "loader"])
def test_two_devices_see_every_image_once(run, tmp_path, source):
    (tmp_path / "two.py").write_text(TWO_DEVICES)
    environment = {**os.environ, "PYTHONPATH": str(Path(script.__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "two.py", str(run[0] / "checkpoints" / "best.ckpt"), source]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    images = int(told["train"][0])
    seen = list(map(int, told["seen"]))
    assert len(seen) == len(set(seen)) == images - images % 2  # a last odd image has no partner
    assert run[1]["val/images"] % 2 == 1
    assert float(told["loss"][0]) == pytest.approx(run[1]["val/loss"], abs=1e-6)


IMPORT = """
import json, logging, warnings
import pytorch_lightning, albumentations, timm, hydra, torchmetrics, sklearn.linear_model, scipy.optimize
import torch.utils.tensorboard, pytorch_lightning.loggers
names = ("pytorch_lightning", "lightning_fabric", "")
look = lambda: (len(warnings.filters), [logging.getLogger(name).level for name in names])
before = look()
import hemai.models.classifier, hemai.data, hemai.reporting.report
import hemai.training.trainer, hemai.training.result
print(json.dumps([before, look()]))
"""


def test_importing_hemai_changes_no_logging_and_no_warning_filter():
    environment = {**os.environ, "PYTHONPATH": str(Path(script.__file__).parent)}
    done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert after == before
