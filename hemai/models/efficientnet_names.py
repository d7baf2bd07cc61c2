"""Translate the tensor names of EfficientNet-PyTorch into those of timm."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
# timm counts the layers of a block from the first, and the first blocks have no expansion (MBConv1).
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **SQUEEZE}
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **SQUEEZE,
}


def are_efficientnet_pytorch(names: Collection[str]) -> bool:
    """Whether tensor names are those of EfficientNet-PyTorch or EfficientNet-Lite-PyTorch."""
    return "_conv_stem.weight" in names


def timm_names(names: Collection[str], network_names: Iterable[str]) -> dict[str, str]:
    """Translate the tensor names of EfficientNet-PyTorch into those of timm's `tf_efficientnet_*`.

    Blocks are numbered consecutively in EfficientNet-PyTorch (`_blocks.3`), by stage and block in timm
    (`blocks.2.0`), both in the same order. Only the `tf_` networks are the same as those of
    EfficientNet-PyTorch: padding like TensorFlow's "same", BatchNorm with eps 1e-3.

    The Lite networks were trained on (pixel - 127) / 128. timm states mean 0.5 and sd 0.5, half a grey
    level off: the probability of a photograph changes from 0.256 to 0.257.

    Args:
        names: Tensor names of the file.
        network_names: Tensor names of timm's network, in its order.

    Returns:
        Name in the file -> name in timm; a name without counterpart is kept, a surplus block
        becomes `blocks.<number>`.

    Source: github.com/lukemelas/EfficientNet-PyTorch, github.com/ml-illustrated/EfficientNet-Lite-PyTorch;
    the pixels: tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
    """
    found = (re.match(r"blocks\.\d+\.\d+", name) for name in network_names)
    blocks = list(dict.fromkeys(match.group() for match in found if match))
    return {name: _translate(name, names, blocks) for name in names}


def _translate(name: str, names: Collection[str], blocks: list[str]) -> str:
    block = re.match(r"_blocks\.(\d+)\.", name)
    if not block:
        layer, _, rest = name.partition(".")
        return f"{OUTSIDE.get(layer, layer)}.{rest}"
    number = int(block[1])
    layer, _, rest = name.removeprefix(block[0]).partition(".")
    layers = EXPANDED if f"{block[0]}_expand_conv.weight" in names else PLAIN
    timm_block = blocks[number] if number < len(blocks) else f"blocks.{number}"
    return f"{timm_block}.{layers.get(layer, layer)}.{rest}"
