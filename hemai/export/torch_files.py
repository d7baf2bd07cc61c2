"""Files of torch: the bare network's state dict, and a program of `torch.export`."""

from __future__ import annotations

import io

import numpy as np
import torch

from hemai.export.plain_network import PlainNetwork, example, merged_copy
from hemai.export.quiet import quiet
from hemai.models.classifier import CellClassifier


def program_content(network: PlainNetwork, images: np.ndarray) -> bytes:
    """Content of a `.pt2` file: a program with the input and outputs of `PlainNetwork`, of any batch size.

    Args:
        network: The network.
        images: Images of the size that the program will take.
    """
    buffer, batch = io.BytesIO(), torch.export.Dim("batch")
    with quiet():
        program = torch.export.export(network, (example(images),), dynamic_shapes=({0: batch},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source code, with paths of this machine
        torch.export.save(program, buffer)
    return buffer.getvalue()


def program_probabilities(content: bytes, images: np.ndarray) -> np.ndarray:
    """Probabilities, float32 (N, classes), by the program of a `.pt2` file."""
    with quiet(), torch.inference_mode():
        probabilities: np.ndarray = torch.export.load(io.BytesIO(content)).module()(torch.from_numpy(images))[1].numpy()
    return probabilities


def state_dict_content(model: CellClassifier) -> bytes:
    """Content of a file of `torch.save`: the tensors of the bare network, by their names in timm or the report."""
    buffer = io.BytesIO()
    torch.save(merged_copy(model).backbone.state_dict(), buffer)
    return buffer.getvalue()


def state_dict_probabilities(content: bytes, model: CellClassifier, images: np.ndarray) -> np.ndarray:
    """Probabilities, float32 (N, classes), by the tensors of such a file alone."""
    other = merged_copy(model)
    for tensor in other.backbone.parameters():
        torch.nn.init.zeros_(tensor)
    other.backbone.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    return PlainNetwork(other).probabilities(images)
