import math

import pytest
import timm
import torch
from torch import nn

from hemai.models.optimization import (
    backbone_parameters,
    create_optimizer,
    create_plateau,
    create_schedule,
    freeze_batchnorm,
)
from hemai.utils.errors import UserError

NETWORK = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def rates(settings, epochs, steps_per_epoch, lr=1.0):
    optimizer = torch.optim.SGD(NETWORK.parameters(), lr=lr)
    schedule = create_schedule(optimizer, settings, epochs, steps_per_epoch)
    found = []
    for step in range(epochs * steps_per_epoch):
        schedule.step_update(step)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_hosseinis_rate_is_multiplied_by_096_every_40_steps():
    settings = {"sched": "step", "decay_rate": 0.96, "decay_steps": 40, "warmup_epochs": 0}
    found = rates(settings, epochs=3, steps_per_epoch=71, lr=1e-4)
    assert found == pytest.approx([1e-4 * 0.96 ** (step // 40) for step in range(3 * 71)])


def test_cosine_falls_to_zero_after_a_linear_warm_up():
    found = rates({"sched": "cosine", "warmup_epochs": 2, "warmup_lr": 0.0}, epochs=10, steps_per_epoch=5)
    assert found[:10] == pytest.approx([step / 10 for step in range(10)])
    assert found[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 50)) for step in range(10, 50)])


def test_the_rate_depends_on_the_step_alone():
    optimizer = torch.optim.SGD(NETWORK.parameters(), lr=1.0)
    schedule = create_schedule(optimizer, {"sched": "cosine", "warmup_epochs": 1}, 4, 10)
    seen = []
    for step in (25, 3, 39, 25):
        schedule.step_update(step)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3


def test_layer_decay_slows_the_lower_layers():
    network = timm.create_model("resnet10t", num_classes=2)
    optimizer = create_optimizer(network, {"opt": "sgd", "lr": 1.0, "layer_decay": 0.5})
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rate_of[id(network.fc.weight)] == 1.0
    stem, last = rate_of[id(network.conv1[0].weight)], rate_of[id(network.layer4[0].conv1.weight)]
    assert stem < last <= 1.0
    assert all(math.log2(rate).is_integer() for rate in rate_of.values())
    plateau = create_plateau(optimizer, {"factor": 0.1, "patience": 0})
    plateau.step(1.0)
    plateau.step(2.0)
    assert {group["lr"] for group in optimizer.param_groups} == {rate * 0.1 for rate in rate_of.values()}


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"sched": "cosinus"}, "did you mean 'cosine'"),
        ({"warmup_epochs": 1}, "sched=None"),
        ({"sched": "cosine", "warm_up": 1}, "warm_up"),
        ({"sched": "cosine", "decay_steps": 40}, "with sched=step"),
        ({"sched": "step", "decay_steps": 0}, "1 or more"),
    ],
)
def test_a_wrong_schedule_is_told(settings, told):
    with pytest.raises(UserError, match=told):
        create_schedule(torch.optim.SGD(NETWORK.parameters(), lr=1.0), settings, 10, 10)


@pytest.mark.parametrize("name, head", [("resnet10t", "fc"), ("custom_cnn", "fc2"), ("nasnet_mobile", "last_linear")])
def test_the_backbone_is_all_but_the_classifier(name, head):
    import hemai.models  # noqa: F401  registers networks

    network = timm.create_model(name, num_classes=2)
    backbone = {id(parameter) for parameter in backbone_parameters(network)}
    others = {n for n, parameter in network.named_parameters() if id(parameter) not in backbone}
    assert others == {f"{head}.weight", f"{head}.bias"}


def test_statistics_are_kept_and_move_again():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    freeze_batchnorm(network, True)
    network(torch.randn(8, 3, 2, 2) + 5)
    assert network[1].running_mean.tolist() == [0] * 4
    assert network[0].training
    freeze_batchnorm(network, False)
    network(torch.randn(8, 3, 2, 2) + 5)
    assert all(network[1].running_mean != 0)
