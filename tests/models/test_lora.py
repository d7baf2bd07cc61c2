"""Low-rank adapters of attention."""

import copy
from itertools import pairwise

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrize

from hemai.models.cost import count_parameters
from hemai.models.lora import LowRank, add_adapter, merge_adapters
from hemai.models.optimization import create_optimizer
from hemai.models.weights import load_weights, merge_tensors
from hemai.utils.errors import UserError

LORA = {"name": "lora", "rank": 4, "alpha": 8}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)


def network(name="test_vit", **options):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=2, img_size=32, **options).eval()


def adapted(**options):
    """A network whose adapters are no longer at their start."""
    changed = network(**options)
    add_adapter(changed, LORA)
    for module in changed.modules():
        if isinstance(module, LowRank):
            nn.init.normal_(module.up, std=0.02)
    return changed


@pytest.mark.parametrize(
    "name",
    ["test_vit", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch16_dinov3"],
)
def test_adapters_change_nothing_at_their_start(name):
    plain, changed = network(name), network(name)
    add_adapter(changed, LORA)
    with torch.no_grad():
        assert torch.equal(changed(IMAGES), plain(IMAGES))


def test_only_adapters_and_the_classifier_are_trained():
    changed = network("vit_tiny_patch16_224")
    add_adapter(changed, LORA)
    # 12 blocks of width 192, whose qkv has 3 * 192 outputs; a classifier of 2 classes.
    assert count_parameters(changed)[0] == 12 * 4 * (192 + 3 * 192) + (192 + 1) * 2
    names = {name for name, parameter in changed.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".")[2] for name in names - {"head.weight", "head.bias"}} == {"down", "up"}


def test_an_adapter_adds_a_scaled_product_of_two_small_matrices():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank=1, alpha=2))
    adapter = layer.parametrizations.weight[0]
    adapter.down.data, adapter.up.data = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5], [2.0]])
    assert layer.weight.tolist() == [[1 + 1, 2 - 1], [3 + 4, 4 - 4]]  # twice (0.5, 2) times (1, -1)


def test_merged_adapters_leave_a_plain_network_with_the_same_outputs():
    changed = adapted()
    with torch.no_grad():
        expected = changed(IMAGES)
        assert (expected - network()(IMAGES)).abs().max() > 1e-4
        assert merge_adapters(changed) is changed
        assert (changed(IMAGES) - expected).abs().max() <= 1e-6
    assert changed.state_dict().keys() == network().state_dict().keys()
    assert merge_adapters(network()).state_dict().keys() == network().state_dict().keys()  # nothing to merge


def test_a_file_with_adapters_starts_a_plain_network(tmp_path):
    changed, plain = adapted(), network()
    torch.save({"state_dict": {f"backbone.{name}": t for name, t in changed.state_dict().items()}}, tmp_path / "a.ckpt")
    report = load_weights(plain, tmp_path / "a.ckpt")
    assert len(report.matched) == len(plain.state_dict()) and not report.unused
    with torch.no_grad():
        torch.testing.assert_close(plain(IMAGES), changed(IMAGES), rtol=0, atol=1e-6)


def test_tensors_without_adapters_stay_as_they_are():
    state = {"qkv.weight": torch.ones(2, 2)}
    assert merge_tensors(state) == state


def test_an_adapted_network_can_be_copied():
    changed = adapted()
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(changed)(IMAGES), changed(IMAGES))


def test_adapters_of_lower_layers_learn_more_slowly_with_layer_decay():
    changed = network()
    add_adapter(changed, LORA)
    optimizer = create_optimizer(changed, {"opt": "adamw", "lr": 1.0, "layer_decay": 0.5})
    names = {id(parameter): name for name, parameter in changed.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    ends = [rates[f"blocks.{i}.attn.qkv.parametrizations.weight.0.up"] for i in range(len(changed.blocks))]
    assert rates["head.weight"] == 1
    assert [after / before for before, after in pairwise(ends)] == [2] * (len(ends) - 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("lora", r"model\.adapter=lora: expected \{name: lora, rank: 8\}"),
        ({"rank": 8}, r"expected \{name: lora, rank: 8\}"),
        ({"name": "dora"}, r"expected \{name: lora, rank: 8\}"),
        ({"name": "lora", "rnk": 8}, r"rnk is unknown; did you mean 'rank'"),
        ({"name": "lora", "rank": 0}, r"rank=0: expected a whole number, 1 or more"),
        ({"name": "lora", "rank": -1}, r"rank=-1: expected a whole number"),
        ({"name": "lora", "rank": "x"}, r"rank=x: expected a whole number"),
        ({"name": "lora", "rank": 1000}, r"rank=1000: expected at most 64"),
        ({"name": "lora", "alpha": "x"}, r"alpha=x: expected 0 or more"),
        ({"name": "lora", "alpha": 0}, r"alpha=0: the adapters would have no effect"),
    ],
)
def test_a_wrong_adapter_is_refused(settings, told):
    with pytest.raises(UserError, match=told):
        add_adapter(network(), settings)


@pytest.mark.parametrize("name", ["resnet10t", "custom_cnn", "levit_128s"])
def test_a_network_without_linear_qkv_is_refused(name):
    with pytest.raises(UserError, match="has no attention with a linear layer qkv"):
        add_adapter(timm.create_model(name, num_classes=2), LORA)
