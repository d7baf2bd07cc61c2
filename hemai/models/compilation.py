"""Compile a network for training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import torch
from torch import nn

from hemai.utils.errors import UserError

COMPILERS = ("c++", "g++", "clang++")


def compile_network(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Function that computes what a network does, by kernels that torch.compile makes for it at the first call.

    It shares the weights of the network, whose names in the state dict do not change. Batches of a second size are
    compiled once more, for all sizes.

    Raises:
        UserError: No C++ compiler is installed; on a GPU it is needed too, to start the kernels.
    """
    if not shutil.which(os.environ.get("CXX", "")) and not any(map(shutil.which, COMPILERS)):
        raise UserError(
            f"model.compile=true: no C++ compiler found ({', '.join(COMPILERS)}, or the variable CXX); install g++, or "
            "set model.compile=false"
        )
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(network.forward)
    return compiled
