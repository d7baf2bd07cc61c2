"""Files in the layout of DINOv2, which DinoBloom and RedDino share: random tensors, small networks."""

import pytest
import timm
import torch
from timm.layers import SwiGLUPacked
from torch import nn

from hemai.models.weights import load_weights
from hemai.utils.errors import UserError

HEADS = {"dino_head.mlp.0.weight": torch.zeros(2, 2), "ibot_head.last_layer.weight": torch.zeros(2, 2)}


def network(**options):
    """6 tensors of patches and norms and, with LayerScale, 14 for each of 6 blocks; then a head of 2 tensors."""
    options = {"num_classes": 2, "img_size": 64, "init_values": 1e-5, **options}
    return timm.create_model("test_vit", **options)


def teacher(source, tmp_path, rename=lambda name: name, without=()):
    """Write the teacher of a training of DINOv2."""
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith(("head", *without))}
    state = {f"backbone.{rename(name)}": tensor for name, tensor in state.items()}
    state["backbone.mask_token"] = torch.zeros(1, 64)
    torch.save({"teacher": state | HEADS}, tmp_path / "teacher.pth")
    return tmp_path / "teacher.pth"


def body(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("head")}


def assert_same_body(target, source):
    for name, tensor in body(source.state_dict()).items():
        assert torch.equal(target.state_dict()[name], tensor), name


def test_a_teacher_gives_all_but_the_head(tmp_path):
    source, target = network(), network()
    report = load_weights(target, teacher(source, tmp_path))
    assert_same_body(target, source)
    assert len(report.matched) == 6 + len(source.blocks) * 14
    assert report.reinitialized == ("head.weight", "head.bias")
    assert set(report.unused) == {"mask_token", *HEADS}
    assert not report.resized and not report.neutral


@pytest.mark.parametrize("blocks_of_a_chunk", [1, 2, 100])
def test_blocks_in_chunks_are_found(tmp_path, blocks_of_a_chunk):
    def in_chunks(name):
        first, *rest = name.split(".")
        return ".".join((first, str(int(rest[0]) // blocks_of_a_chunk), *rest)) if first == "blocks" else name

    source, target = network(), network()
    load_weights(target, teacher(source, tmp_path, in_chunks))
    assert_same_body(target, source)


def test_a_gated_mlp_is_found_by_the_names_of_dinov2(tmp_path):
    options = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    source, target = network(**options), network(**options)
    load_weights(target, teacher(source, tmp_path, lambda name: name.replace("fc1", "w12").replace("fc2", "w3")))
    assert_same_body(target, source)


def test_registers_are_found_and_the_class_token_takes_its_position(tmp_path):
    source, target = network(), network(reg_tokens=4, no_embed_class=True)
    state = body(source.state_dict()) | {"register_tokens": torch.randn(1, 4, 64), "mask_token": torch.zeros(1, 64)}
    torch.save({"teacher": state}, tmp_path / "registers.pth")
    load_weights(target, tmp_path / "registers.pth")
    assert torch.equal(target.reg_token, state["register_tokens"])
    assert torch.equal(target.cls_token, state["cls_token"] + state["pos_embed"][:, :1])
    assert torch.equal(target.pos_embed, state["pos_embed"][:, 1:])


def test_positions_of_another_image_size_are_resized_and_reported(tmp_path):
    target = network(img_size=96)
    report = load_weights(target, teacher(network(), tmp_path))
    assert report.resized == ("pos_embed (1, 17, 64) to (1, 37, 64)",)  # (64 / 16)^2 + 1 and (96 / 16)^2 + 1
    assert "; resized to the network: pos_embed (1, 17, 64) to (1, 37, 64)" in str(report)


def test_a_file_without_layer_scale_gives_the_outputs_of_its_network_and_the_report_says_so(tmp_path):
    torch.manual_seed(0)
    source, target = network(init_values=None).eval(), network().eval()
    report = load_weights(target, teacher(source, tmp_path))
    count = 2 * len(source.blocks)
    assert len(report.neutral) == count and len(report.matched) == 6 + len(source.blocks) * 12
    assert f"not in the file: {count} LayerScale tensors (blocks.0.ls1.gamma, ...), set to 1" in str(report)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(target.forward_features(images), source.forward_features(images))


def test_a_file_with_some_layer_scale_alone_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"missing blocks\.1\.ls2\.gamma"):
        load_weights(network(), teacher(network(), tmp_path, without=("blocks.1.ls2",)))


def test_layer_scale_that_the_network_lacks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"not in the network blocks\.0\.ls1\.gamma"):
        load_weights(network(init_values=None), teacher(network(), tmp_path))


@pytest.mark.slow
def test_dinobloom_s_starts_all_but_two_of_176_tensors(tmp_path):
    source, target = (timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=2) for _ in range(2))
    state = {f"backbone.{name}": tensor for name, tensor in body(source.state_dict()).items()}
    torch.save({"teacher": state | {"backbone.mask_token": torch.zeros(1, 384)} | HEADS}, tmp_path / "DinoBloom-S.pth")
    report = load_weights(target, tmp_path / "DinoBloom-S.pth")
    assert len(report.matched) == 4 + 12 * 14 + 2 and str(report).startswith("174 of 176 tensors from")


def test_an_empty_teacher_is_refused(tmp_path):
    torch.save({"teacher": {}}, tmp_path / "empty.pth")
    with pytest.raises(UserError, match="no state dict"):
        load_weights(network(), tmp_path / "empty.pth")
