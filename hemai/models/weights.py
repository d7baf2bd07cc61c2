"""Starting a network from a file of weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hemai.errors import UserError, some


def load_weights(network: nn.Module, file: Path) -> None:
    """Load all weights of a network, safely (no code of the file is run).

    Args:
        network: Changed in place.
        file: A state dict saved with `torch.save` (such as the report's `HEMAI.pth`), or a
            checkpoint of hemai.

    Raises:
        UserError: No such file, no file of weights, or weights of another network.
    """
    state = read_state_dict(file)
    own = network.state_dict()
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if missing or extra:
        raise UserError(
            f"model.weights: {file} does not fit the network: missing {some(missing) or 'nothing'}; "
            f"not in the network {some(extra) or 'nothing'}"
        )
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if state[name].shape != own[name].shape
    ]
    if shapes:
        raise UserError(
            f"model.weights: {file} has other shapes: {some(shapes)}; set model.image_size and the classes of "
            "the network that it was saved from"
        )
    network.load_state_dict(state)


def read_torch_file(file: Path, key: str) -> Any:
    """The content of a file of `torch.save`, on the CPU, without running its code.

    Args:
        file: Its path.
        key: The setting that named it, for the error.

    Raises:
        UserError: No such file, or a file of another kind.
    """
    if not file.is_file():
        raise UserError(f"{key}: no file at {file}")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{key}: {file} is damaged or no file of weights ({type(error).__name__})") from error


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """The network's tensors in a file; see `load_weights`."""
    state = read_torch_file(file, "model.weights")
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        prefix = "backbone."
        state = {k.removeprefix(prefix): v for k, v in state["state_dict"].items() if k.startswith(prefix)}
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"model.weights: {file} holds no state dict (name -> tensor)")
    return state
