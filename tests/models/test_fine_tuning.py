"""What of a network moves in training."""

import pandas as pd
import pytest
import torch

import train as script
from hemai.settings.compose import compose
from hemai.training.callbacks import LastCheckpoint
from hemai.utils.errors import UserError
from tests import small_run

SMALL = [*small_run.SMALL, "data.cells=60", "data.batch_size=16"]
NETWORK = ["model=timm", "model.backbone=resnet10t", "model.optimizer.lr=0.01"]


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train, and return the weights after each epoch."""

    def train(*overrides):
        states = []
        keep = LastCheckpoint.on_train_epoch_end

        def look(self, trainer, module):
            keep(self, trainer, module)
            states.append({n: t.clone() for n, t in module.backbone.state_dict().items()})

        monkeypatch.setattr(LastCheckpoint, "on_train_epoch_end", look)
        overrides = [*SMALL, *overrides, f"run_dir={tmp_path / 'run'}"]
        script.train(compose(overrides), overrides)
        return states

    return train


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_frozen_backbone_moves_only_after_its_epochs(train):
    first, second, third = train(*NETWORK, "model.freeze=backbone", "model.freeze_epochs=2", "trainer.max_epochs=3")
    assert moved(first, second) == {"fc.weight", "fc.bias"}
    assert moved(second, third) > {"fc.weight", "conv1.0.weight", "layer4.0.bn1.running_mean"}


def test_statistics_can_stay_while_weights_move(train):
    first, second = train(*NETWORK, "model.freeze_statistics=true", "trainer.max_epochs=2")
    names = moved(first, second)
    assert "conv1.0.weight" in names
    assert not any("running" in name or "num_batches" in name for name in names)


def test_the_average_of_the_weights_is_what_is_kept(train, tmp_path):
    """Torch's AveragedModel starts with the weights after the first step, then decays."""
    now = train("model.average_weights=0.9", "trainer.max_epochs=3", "data.batch_size=1000")  # one step an epoch
    name = "fc2.weight"
    expected = 0.9 * (0.9 * now[0][name] + 0.1 * now[1][name]) + 0.1 * now[2][name]
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(last["state_dict"][f"backbone.{name}"], expected)
    assert not torch.equal(now[2][name], expected)


def test_averaged_statistics_stay_their_own_beside_class_weights(train, tmp_path):
    now = train(
        *NETWORK,
        "model.average_weights=0.9",
        "model.class_weights=[1,2]",
        "trainer.max_epochs=3",
        "data.batch_size=1000",
    )
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    for name in ("bn1.running_mean", "layer4.0.bn2.running_var", "fc.weight"):
        expected = 0.9 * (0.9 * now[0][name] + 0.1 * now[1][name]) + 0.1 * now[2][name]
        torch.testing.assert_close(last["state_dict"][f"backbone.{name}"], expected)


def test_the_schedule_ends_low_and_is_recorded(train, tmp_path):
    train("model=timm", "model.backbone=resnet10t", "trainer.max_epochs=4")
    rates = pd.read_csv(tmp_path / "run" / "metrics.csv")["learning_rate"]
    assert rates.iloc[0] < 1e-3
    assert rates.iloc[-1] < rates.iloc[1] <= 1e-3


@pytest.mark.parametrize("what, setting", [("learning_rate", "model.optimizer.lr"), ("batch_size", "data.batch_size")])
def test_a_search_gives_a_setting_and_writes_nothing(tmp_path, capsys, what, setting):
    overrides = [*SMALL, f"find={what}", f"run_dir={tmp_path / 'run'}"]
    found = script.train(compose(overrides), overrides)
    assert list(found) == [setting]
    assert 1e-7 < found[setting] < 129
    assert f"{setting}={found[setting]}" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["model.freeze=head"], "expected backbone"),
        (["model.schedule={sched: cosine}"], "set one of them to null"),
        (["model=mobilenetv2", "model.schedule.sched=cosin"], "did you mean 'cosine'"),
        (["model.average_weights=1.5"], "expected 0 to 1"),
        (["find=learning_rat"], "did you mean 'learning_rate'"),
        (["data.balance=patients"], "expected class, group"),
        (["model=timm", "model.backbone=resnet81"], "did you mean 'resnet18'"),
        (["model=mobilnetv2"], "did you mean 'mobilenetv2'"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_written(tmp_path, wrong, told):
    with pytest.raises(UserError, match=told):
        script.train(compose([*SMALL, *wrong, f"run_dir={tmp_path / 'run'}"]), wrong)
    assert not (tmp_path / "run").exists()
