"""Read files of tensors, without running code of the file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from hemai.utils.errors import UserError


def read_torch_file(file: Path, key: str) -> Any:
    """Read a file of `.safetensors` or `torch.save` onto the CPU, without running code of the file.

    Args:
        file: Path of the file.
        key: Setting that gave the path, for error messages.

    Raises:
        UserError: The file does not exist, is damaged, or is of another kind.
    """
    if not file.is_file():
        raise UserError(f"{key}: no file at {file}")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's checkpoints keep their options in one
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: the readers do not check what they read
        raise UserError(
            f"{key}: {file} is damaged or not a file of weights ({type(error).__name__}); expected tensors by name, as "
            "torch.save(network.state_dict(), FILE) writes them"
        ) from error
