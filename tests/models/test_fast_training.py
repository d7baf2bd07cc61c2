"""Fused optimizers and compiled networks train as the plain ones do."""

import copy
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hemai.models import compilation
from hemai.models.classifier import CellClassifier
from hemai.models.compilation import compile_network
from hemai.models.optimization import create_optimizer, create_trainer_optimizer
from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError
from tests.small_run import train

NETWORK = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum"])
def test_a_fused_optimizer_takes_the_steps_of_the_plain_one(name):
    weights = []
    for settings in ({"fused": False}, {}):
        network = copy.deepcopy(NETWORK)
        optimizer = create_optimizer(network, {"opt": name, "lr": 0.1, "weight_decay": 0.01} | settings)
        assert bool(optimizer.defaults["fused"]) == (not settings)
        for step in range(5):
            optimizer.zero_grad()
            (network(torch.full((2, 3), float(step))) ** 2).sum().backward()
            optimizer.step()
        weights.append(nn.utils.parameters_to_vector(network.parameters()))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_an_optimizer_without_fused_kernels_is_made_without_them():
    assert "fused" not in create_optimizer(NETWORK, {"opt": "nadam", "lr": 0.1}).defaults


@pytest.mark.parametrize(("precision", "fused"), [("16-mixed", False), ("bf16-mixed", True), ("32-true", True)])
def test_only_in_16_mixed_whose_gradients_are_scaled_fused_kernels_are_not_used(precision, fused):
    trainer = SimpleNamespace(precision=precision)
    optimizer = create_trainer_optimizer(trainer, NETWORK, {"opt": "adam", "lr": 0.1})
    assert bool(optimizer.defaults["fused"]) == fused


def test_the_user_may_choose_another_implementation_of_the_optimizer():
    optimizer = create_optimizer(NETWORK, {"opt": "adam", "lr": 0.1, "foreach": True})
    assert not optimizer.defaults["fused"]
    with pytest.raises(UserError, match="fused"):
        create_optimizer(NETWORK, {"opt": "adam", "lr": 0.1, "foreach": True, "fused": True})


def test_a_compiled_network_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="install it"):
        compile_network(NETWORK)


def test_only_training_uses_the_compiled_network():
    model = CellClassifier("custom_cnn", ["all", "hem"], image_size=48, options={"img_size": 48})
    names, image = set(model.state_dict()), torch.zeros(1, 3, 48, 48)
    model._compiled = lambda image: torch.full((len(image), 2), 7.0)
    assert model.train()(image).tolist() == [[7.0, 7.0]]
    assert model.eval()(image).tolist() != [[7.0, 7.0]]
    assert set(model.state_dict()) == names


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(compilation.compiler()), reason="no C++ compiler")
def test_a_compiled_training_gives_the_metrics_and_the_checkpoint_of_a_plain_one(tmp_path):
    results, names = [], []
    for compiled in ("false", "true"):
        folder = tmp_path / compiled
        settings = [f"run_dir={folder}", f"model.compile={compiled}", "model.options.drop_rate=0", "data.split=image"]
        results.append(train(*settings, "trainer.max_epochs=1"))
        names.append(list(torch.load(RunFolder(folder).best, weights_only=True)["state_dict"]))
    assert results[1]["val/loss"] == pytest.approx(results[0]["val/loss"], abs=1e-4)
    assert results[1]["test/auroc"] == pytest.approx(results[0]["test/auroc"], abs=1e-3)
    assert names[0] == names[1]
