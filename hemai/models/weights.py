"""Start a network from a file of weights."""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import nn

from hemai.models.efficientnet_names import are_efficientnet_pytorch, timm_names
from hemai.utils.errors import UserError, shorten

Tensors = Mapping[str, torch.Tensor]
# Where a checkpoint keeps its tensors; timm's averaged weights first, as timm itself does.
KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
PREFIXES = ("module.", "_orig_mod.", "backbone.")  # of DistributedDataParallel, torch.compile and hemai
DAMAGED = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError)
COUNTER = "num_batches_tracked"  # of BatchNorm; files of 2018 lack it, and no figure depends on it


@dataclass(frozen=True)
class WeightsReport:
    """What a network took from a file; as text, a sentence for the user. Counters of BatchNorm do not count.

    Attributes:
        file: Its path.
        matched: Names of the tensors that come from the file.
        reinitialized: Names of the head's tensors, where the file's head does not fit: they start at random.
        reason: Why, such as "2 classes instead of 1000"; empty if the file's head fits.
        unused: Names in the file that the network lacks.
    """

    file: Path
    matched: tuple[str, ...]
    reinitialized: tuple[str, ...]
    reason: str
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.matched)} of {len(self.matched) + len(self.reinitialized)} tensors from {self.file}"
        layers = dict.fromkeys(name.rpartition(".")[0] for name in self.reinitialized)
        text += (
            f"; made anew: {shorten(layers)} ({self.reason})"
            if self.reinitialized
            else ", those of the classes among them"
        )
        return text + (f"; unused in the file: {shorten(self.unused)}" if self.unused else "")


def load_weights(network: nn.Module, file: Path) -> WeightsReport:
    """Start a network from a file, safely (no code of the file is run).

    All tensors must be there with the same shape, save those of the head: where they do not fit,
    the whole head keeps its random start. What the file has beyond the network is left over if it is
    a part of its own (an auxiliary head, a second network); more layers within a part that the network
    has too belong to a deeper network, and are refused.

    Args:
        network: Of timm or `hemai.models`; changed in place.
        file: `.safetensors`, or a file of `torch.save`: a state dict (such as the report's `HEMAI.pth`), a
            checkpoint of hemai or of timm. Names are those of the network, or what timm itself renames and
            resizes (its `checkpoint_filter_fn`), or those of EfficientNet-PyTorch.

    Raises:
        UserError: No such file, no file of weights, or weights of another network.
    """
    own, head = network.state_dict(), _head_names(network)
    state = _convert_names(network, read_state_dict(file), file)
    body = [name for name in own if name not in head]
    if not any(name in state for name in body):
        raise UserError(
            f"model.weights: nothing in {file} belongs to the network: found {shorten(state, 3)}; expected "
            f"{shorten(own, 3)}; set model.backbone to the network of the file"
        )
    if misfits := _mismatches(own, state, head):
        raise UserError(
            f"model.weights: {file} is of another network: {'; '.join(misfits)}; set model.backbone, model.options "
            "and model.image_size as they were there"
        )
    headless = any(name not in state or state[name].shape != own[name].shape for name in head)
    reinitialized = tuple(name for name in own if name in head) if headless else ()
    matched = [name for name in own if name in state and name not in reinitialized]
    network.load_state_dict({name: state[name] for name in matched}, strict=False)
    return WeightsReport(
        file,
        matched=tuple(name for name in matched if not name.endswith(COUNTER)),
        reinitialized=reinitialized,
        reason=_reason(own, state, reinitialized) if reinitialized else "",
        unused=tuple(name for name in state if name not in own and not name.endswith(COUNTER)),
    )


def read_torch_file(file: Path, key: str) -> Any:
    """The content of a `.safetensors` file or one of `torch.save`, on the CPU, without running its code.

    Args:
        file: Its path.
        key: The setting that named it, for the error.

    Raises:
        UserError: No such file, or a file of another kind.
    """
    if not file.is_file():
        raise UserError(f"{key}: no file at {file}")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's checkpoints keep their options in one
            return torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise UserError(
            f"{key}: {file} is damaged or no file of weights ({type(error).__name__}); expected tensors by name, as "
            "torch.save(network.state_dict(), FILE) writes them"
        ) from error


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file by name, without the prefixes of wrappers; see `load_weights`."""
    content = read_torch_file(file, "model.weights")
    if isinstance(content, dict):
        content = next((content[key] for key in KEYS if isinstance(content.get(key), dict)), content)
    tensors = content.items() if isinstance(content, dict) else ()
    state = {_strip_prefixes(name): tensor for name, tensor in tensors if isinstance(tensor, torch.Tensor)}
    if not state:
        raise UserError(f"model.weights: {file} holds no state dict (name -> tensor)")
    return state


def _strip_prefixes(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def _head_names(network: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    if not hasattr(network, "get_classifier"):  # not made as timm makes them: all its tensors must fit
        return set()
    heads = network.get_classifier()  # type: ignore[operator]  # a module, or a tuple of them
    heads = heads if isinstance(heads, tuple) else (heads,)
    parts = {prefix: part for prefix, part in network.named_modules() if any(part is head for head in heads)}
    names = {f"{prefix}.{name}" for prefix, part in parts.items() for name in part.state_dict()}
    return {name for name in names if not name.endswith(COUNTER)}


def _convert_names(network: nn.Module, state: Tensors, file: Path) -> Tensors:
    """The tensors of a file under the names, and if timm resizes them in the shapes, of a network."""
    own, head = network.state_dict(), _head_names(network)
    if are_efficientnet_pytorch(state):
        name = getattr(network, "pretrained_cfg", {}).get("architecture", "")
        if f"tf_{name}" in timm.list_models():
            raise UserError(f"model.weights: {file} is of EfficientNet-PyTorch; set model.backbone=tf_{name}")
        names = timm_names(state, own)
        state = {names[name]: tensor for name, tensor in state.items()}
    timm_filter = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if timm_filter and _mismatches(own, state, head):
        try:
            filtered: Tensors = timm_filter(dict(state), network)
        except Exception:  # whatever it stumbles over: a file of another network, and the caller says so
            return state
        return state if _mismatches(own, filtered, head) else filtered
    return state


def _mismatches(own: Tensors, state: Tensors, head: set[str]) -> list[str]:
    """What keeps the tensors of a file from being those of a network, its head aside."""
    body = {name for name in own if name not in head and not name.endswith(COUNTER)}
    parts = {name.split(".")[0] for name in body}
    missing = [name for name in own if name in body and name not in state]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in body and name in state and state[name].shape != own[name].shape
    ]
    deeper = [name for name in state if name not in own and name.split(".")[0] in parts and not name.endswith(COUNTER)]
    found = {"missing": missing, "of another shape": shapes, "not in the network": deeper}
    return [f"{what} {shorten(names)}" for what, names in found.items() if names]


def _reason(own: Tensors, state: Tensors, reinitialized: tuple[str, ...]) -> str:
    """Why a head is made anew."""
    shapes = [(own[name].shape, state[name].shape) for name in reinitialized if name in state]
    other = [f"{ours[0]} classes instead of {theirs[0]}" for ours, theirs in shapes if ours[:1] != theirs[:1]]
    return other[0] if other else "of another shape in the file" if shapes else "not in the file"
