from collections import Counter

import numpy as np
import pytest
import timm
import timm.optim
import torch
import torch.nn.functional as F
from torch import nn

import hemai.models  # noqa: F401  registers nasnet_mobile
from hemai.models.nasnet_mobile import AvgPoolInside


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small layers gain little from threads, which wait for each other on busy cores (this file: 30 s, not 10 s)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def imagenet():
    """The network with 1000 classes, for tests that do not change it."""
    return timm.create_model("nasnet_mobile").eval()


@pytest.fixture(scope="module")
def drawn():
    """A network with four classes whose activations have a common size, its logits of one image, and what its cells
    read and gave in that pass: {name: ([inputs], output)}."""
    network = timm.create_model("nasnet_mobile", num_classes=4).eval()
    # `RandomState` is frozen by numpy: the numbers are the same wherever they are drawn, in the order of the names.
    random, state = np.random.RandomState(0), {}
    for name, tensor in sorted(without_counters(network.state_dict()).items()):
        values = random.uniform(-1, 1, tensor.shape)
        if tensor.ndim > 1:
            values *= (3 / np.prod(tensor.shape[1:])) ** 0.5  # outputs of the size of inputs
        elif name.endswith(("running_var", "bn.weight", "bn_sep_1.weight", "bn_sep_2.weight")):
            values = 1 + values / 2
        state[name] = torch.from_numpy(values)
    network.load_state_dict(state)
    image = torch.from_numpy(random.uniform(-1, 1, (1, 3, 224, 224))).float()
    calls = {}
    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: calls.update({name: (inputs, output)}))
        for name, module in network.named_children()
    ]
    with torch.no_grad():
        logits = network(image)
    for hook in hooks:
        hook.remove()
    return network, logits, calls


def without_counters(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def test_has_the_parameters_and_statistics_of_the_keras_network(imagenet):
    assert sum(parameter.numel() for parameter in imagenet.parameters()) == 5_289_978
    assert sum(tensor.numel() for tensor in without_counters(imagenet.state_dict()).values()) == 5_326_716


def test_cells_hold_the_separable_convolutions_of_the_publication(imagenet):
    kernels = Counter(m.kernel_size[0] for m in imagenet.modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
    # Figure 4: a normal cell has three of 3 x 3 and two of 5 x 5, a reduction cell one of 3 x 3, two of 5 x 5 and two
    # of 7 x 7; each is applied twice. There are 12 normal cells and, with the stem's, 4 reduction cells.
    assert kernels == {3: 2 * (12 * 3 + 4), 5: 2 * (12 * 2 + 4 * 2), 7: 2 * 4 * 2}


def test_all_batchnorms_have_the_epsilon_and_momentum_of_the_classic_port(imagenet):
    norms = [module for module in imagenet.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_gives_the_logits_of_the_classic_port(drawn):
    # By NASNetAMobile of Cadene's pretrainedmodels (commit 25b4abd), with the same weights and image, in float64.
    expected = [[3.3454122525370735, 0.558406001443073, -6.8724217004832795, 1.1339039955483332]]
    torch.testing.assert_close(drawn[1], torch.tensor(expected), rtol=0, atol=1e-4)


# ------------------------------------------------------------------ wiring


@pytest.mark.parametrize(
    ("cell", "newer", "older"),  # of TF-slim with skip_reduction_layer_input=0
    [
        ("cell_stem_1", "conv0", "cell_stem_0"),  # timm's argument order
        ("cell_0", "cell_stem_1", "cell_stem_0"),
        ("cell_1", "cell_0", "cell_stem_1"),
        ("cell_3", "cell_2", "cell_1"),
        ("reduction_cell_0", "cell_3", "cell_2"),
        ("cell_6", "reduction_cell_0", "cell_3"),
        ("cell_7", "cell_6", "reduction_cell_0"),
        ("reduction_cell_1", "cell_9", "cell_8"),
        ("cell_12", "reduction_cell_1", "cell_9"),
        ("cell_13", "cell_12", "reduction_cell_1"),
        ("cell_15", "cell_14", "cell_13"),
    ],
)
def test_a_cell_reads_the_two_outputs_before_it_also_after_a_reduction(drawn, cell, newer, older):
    _, _, calls = drawn
    inputs, _ = calls[cell]
    assert inputs[0] is calls[newer][1] and inputs[1] is calls[older][1]


@pytest.mark.parametrize(("cell", "mobile", "large"), [("cell_6", "cell_3", "cell_2"), ("cell_12", "cell_9", "cell_8")])
def test_the_cell_after_a_reduction_halves_the_input_of_the_reduction(drawn, cell, mobile, large):
    network, _, calls = drawn
    weights = network.get_submodule(cell).state_dict()

    def halve(image):
        image = image.relu()
        shifted = torch.zeros_like(image)
        shifted[..., :-1, :-1] = image[..., 1:, 1:]
        parts = [
            F.conv2d(pixels[..., ::2, ::2], weights[f"path_{path}.conv.weight"])
            for path, pixels in ((1, image), (2, shifted))
        ]
        mean, var, weight, bias = (
            weights[f"final_path_bn.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(torch.cat(parts, 1), mean, var, weight, bias, eps=1e-3)

    output = calls[cell][1]
    width = output.shape[1] // 6  # the first of six parts is the older input
    torch.testing.assert_close(output[:, :width], halve(calls[mobile][1]))
    assert (output[:, :width] - halve(calls[large][1])).abs().max() > 0.1


def test_the_wiring_of_nasnet_large_gives_other_features(drawn):
    network, _, calls = drawn
    with torch.no_grad():
        features = network.cell_6(calls["reduction_cell_0"][1], calls["cell_2"][1])
    assert (features - calls["cell_6"][1]).abs().max() > 0.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 6), (8, 8), (9, 9)])
def test_average_pooling_counts_pixels_of_the_image_only(height, width):
    image = np.random.default_rng(0).normal(size=(height, width))
    tops, lefts = (range(-(size % 2), size - size % 2, 2) for size in (height, width))
    expected = [[image[max(y, 0) : y + 3, max(x, 0) : x + 3].mean() for x in lefts] for y in tops]
    pooled = AvgPoolInside()(torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(pooled[0, 0], expected)


# ------------------------------------------------------------------ behaviour of a timm network


@pytest.mark.parametrize("size", [224, 331, 96, 33])
def test_takes_any_size(imagenet, size):
    with torch.no_grad():
        assert imagenet(torch.zeros(1, 3, size, size)).shape == (1, 1000)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    network = timm.create_model("nasnet_mobile", num_classes=3)
    F.cross_entropy(network(torch.randn(2, 3, 96, 96)), torch.tensor([0, 2])).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_features_halve_the_size_five_times():
    network = timm.create_model("nasnet_mobile", features_only=True)
    shapes = [tuple(features.shape[1:]) for features in network(torch.zeros(1, 3, 224, 224))]
    assert shapes == [(32, 111, 111), (44, 56, 56), (264, 28, 28), (528, 14, 14), (1056, 7, 7)]
    assert network.feature_info.channels() == [32, 44, 264, 528, 1056]
    assert network.feature_info.reduction() == [2, 4, 8, 16, 32]


def test_the_head_pools_then_classifies(imagenet):
    with torch.no_grad():
        features = imagenet.forward_features(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        hidden = imagenet.forward_head(features, pre_logits=True)
        logits = imagenet.forward_head(features)
    torch.testing.assert_close(hidden, features.mean(dim=(2, 3)))
    torch.testing.assert_close(logits, hidden @ imagenet.last_linear.weight.T + imagenet.last_linear.bias)


def test_the_classifier_can_be_replaced():
    network = timm.create_model("nasnet_mobile", drop_rate=0.5).eval()
    image = torch.zeros(1, 3, 64, 64)
    assert network.get_classifier().weight.shape == (1000, 1056)
    network.reset_classifier(4)
    assert network.num_classes == 4 and network(image).shape == (1, 4)
    network.reset_classifier(2, global_pool="catavgmax")
    assert network.head_hidden_size == 2 * network.num_features == 2112 and network(image).shape == (1, 2)
    network.reset_classifier(0, global_pool="")
    assert network(image).shape == network.forward_features(image).shape == (1, 1056, 2, 2)


def test_options_of_timm_are_taken():
    network = timm.create_model("nasnet_mobile", num_classes=0, in_chans=1, drop_rate=0.5, global_pool="max")
    hidden = network(torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert hidden.shape == (2, 1056)
    assert 0.3 < (hidden == 0).float().mean() < 0.7
    with pytest.raises(AssertionError, match="checkpointing"):
        network.set_grad_checkpointing()


def test_layer_decay_lowers_the_rate_with_the_distance_from_the_classes(imagenet):
    optimizer = timm.optim.create_optimizer_v2(imagenet, "sgd", lr=1.0, weight_decay=0.0, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    rates = {name.split(".")[0]: scale[id(p)] for name, p in imagenet.named_parameters()}
    stacks = [f"cell_{i}" for i in range(4)], [f"cell_{i}" for i in range(6, 10)], [f"cell_{i}" for i in range(12, 16)]
    order = [*stacks[0], "reduction_cell_0", *stacks[1], "reduction_cell_1", *stacks[2], "last_linear"]
    assert [rates[name] for name in order] == [0.5 ** (len(order) - 1 - depth) for depth in range(len(order))]
    assert rates["conv0"] == rates["cell_stem_0"] == rates["cell_stem_1"] == 0.5 ** len(order)


def test_pixels_are_scaled_to_plus_minus_one(imagenet):
    data = timm.data.resolve_model_data_config(imagenet)
    assert data["mean"] == data["std"] == (0.5, 0.5, 0.5) and data["input_size"] == (3, 224, 224)


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("keep", [dict, without_counters], ids=["of_today", "of_2018"])
def test_a_state_dict_loads_with_and_without_counters_of_batches(keep, imagenet):
    source, network = imagenet.state_dict(), timm.create_model("nasnet_mobile")
    network.load_state_dict(keep(source), strict=True)
    assert all(torch.equal(tensor, source[name]) for name, tensor in network.state_dict().items())


def test_names_are_those_of_the_classic_port(imagenet):
    names = ["conv0", "cell_stem_0", "cell_stem_1", *(f"cell_{i}" for i in range(4)), "reduction_cell_0"]
    names += [*(f"cell_{i}" for i in range(6, 10)), "reduction_cell_1", *(f"cell_{i}" for i in range(12, 16))]
    assert list(dict.fromkeys(name.split(".")[0] for name in imagenet.state_dict())) == [*names, "last_linear"]


def test_published_weights_are_named_where_timm_has_none():
    with pytest.raises(ValueError, match=r"nasnetamobile-7e03cead\.pth.*model\.weights=FILE"):
        timm.create_model("nasnet_mobile", pretrained=True)
