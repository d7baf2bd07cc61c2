"""The device that networks are computed on outside a Trainer."""

from __future__ import annotations

import torch


def find_device() -> torch.device:
    """The accelerator, if one is available, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
