"""Compile a network for training."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import nn

from hemai.utils.errors import UserError


def compiler() -> str:
    """Name of the C++ compiler that torch.compile looks for."""
    chosen = os.environ.get("CXX", "").split()
    return chosen[0] if chosen else {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")


def compile_network(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Function that computes what a network does, by kernels that torch.compile makes for it at the first call.

    It shares the weights of the network, whose names in the state dict do not change. Batches of a second size are
    compiled once more, for all sizes.

    Raises:
        UserError: No C++ compiler is installed; on a GPU it is needed too, to start the kernels.
    """
    if not shutil.which(compiler()):
        raise UserError(
            f"model.compile=true: no C++ compiler {compiler()} (variable CXX); install it, or set model.compile=false"
        )
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(network.forward)
    return compiled
