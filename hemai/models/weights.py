"""Load the weights of a file into a network."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import nn

from hemai.models.efficientnet_names import are_efficientnet_pytorch, timm_names
from hemai.utils.errors import UserError, shorten
from hemai.utils.tensor_files import read_torch_file

Tensors = Mapping[str, torch.Tensor]
# Keys of the tensors in a checkpoint; timm's averaged weights first, as in timm itself.
KEYS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher")  # the last of DINO, DINOv2 and DinoBloom
PREFIXES = ("module.", "_orig_mod.", "backbone.")  # of DistributedDataParallel, torch.compile and hemai
CHUNK = re.compile(r"^blocks\.\d+\.(?=\d+\.)")  # of DINOv2, which may store its blocks in chunks: blocks.0.3.norm1.bias
LAYER_SCALE = re.compile(r".*\.ls[12]\.gamma")
ORIGINAL = "parametrizations.weight.original"  # of a weight that an adapter of `hemai.models.lora` changes
COUNTER = "num_batches_tracked"  # of BatchNorm; files of 2018 lack it, and no result depends on it


@dataclass(frozen=True)
class WeightsReport:
    """Tensors that a network took from a file, without BatchNorm counters; `str` makes a sentence for the user.

    Attributes:
        file: Path of the file.
        matched: Names of the tensors that come from the file.
        reinitialized: Names of the head's tensors if the file's head does not fit: they keep their random values.
        reason: Why the file's head does not fit, such as "2 classes instead of 1000"; empty if it fits.
        unused: Names in the file that the network lacks.
        resized: Names of the tensors that had another shape in the file, with both shapes: position embeddings.
        neutral: Names of the LayerScale tensors of the network if the file has none: they are set to 1.
    """

    file: Path | str
    matched: tuple[str, ...]
    reinitialized: tuple[str, ...]
    reason: str
    unused: tuple[str, ...]
    resized: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = len(self.matched) + len(self.reinitialized) + len(self.neutral)
        text = f"{len(self.matched)} of {total} tensors from {self.file}"
        layers = dict.fromkeys(name.rpartition(".")[0] for name in self.reinitialized)
        text += (
            f"; re-initialised: {shorten(layers)} ({self.reason})"
            if self.reinitialized
            else ", including those of the head"
        )
        text += f"; resized to the network: {shorten(self.resized)}" if self.resized else ""
        if self.neutral:
            text += f"; not in the file: {len(self.neutral)} LayerScale tensors ({self.neutral[0]}, ...), set to 1"
        return text + (f"; unused in the file: {shorten(self.unused)}" if self.unused else "")


def load_weights(network: nn.Module, file: Path) -> WeightsReport:
    """Load the weights of a file into a network, without running code of the file.

    All tensors must be in the file with the same shape, except those of the head: if these do not fit,
    the whole head keeps its random values. Tensors that the network lacks are left unused if they form a
    separate part (an auxiliary head, a second network); additional layers of a part that the network has
    belong to a deeper network, and raise an error. A file without any LayerScale is of a network that scales by 1:
    its tensors are set to 1, which gives the outputs of that network. Position embeddings of another image size are
    resized by timm. The report names both.

    Args:
        network: Network of timm or `hemai.models`; changed in place.
        file: `.safetensors`, or a file of `torch.save`: a state dict (such as the report's `HEMAI.pth`), a
            checkpoint of hemai (adapters are merged), of timm or of DINOv2 (its teacher). Names are those of the
            network, or what timm itself renames and resizes (its `checkpoint_filter_fn`), or those of
            EfficientNet-PyTorch.

    Raises:
        UserError: The file does not exist, contains no weights, or those of another network.
    """
    own, head = network.state_dict(), _head_names(network)
    found = _without_chunks(read_state_dict(file))
    state = _convert_names(network, found, file)
    body = [name for name in own if name not in head]
    if not any(name in state for name in body):
        raise UserError(
            f"model.weights: no tensor in {file} belongs to the network: found {shorten(state, 3)}; expected "
            f"{shorten(own, 3)}; set model.backbone to the network of the file"
        )
    if misfits := _mismatches(own, state, head):
        raise UserError(
            f"model.weights: {file} is of another network: {'; '.join(misfits)}; set model.backbone, model.options "
            "and model.image_size to those of the file"
        )
    headless = any(name not in state or state[name].shape != own[name].shape for name in head)
    reinitialized = tuple(name for name in own if name in head) if headless else ()
    matched = [name for name in own if name in state and name not in reinitialized]
    neutral = _absent_scales(own, state)
    ones = {name: torch.ones_like(own[name]) for name in neutral}
    network.load_state_dict({name: state[name] for name in matched} | ones, strict=False)
    return WeightsReport(
        file,
        matched=tuple(name for name in matched if not name.endswith(COUNTER)),
        reinitialized=reinitialized,
        reason=_reason(own, state, reinitialized) if reinitialized else "",
        unused=tuple(name for name in state if name not in own and not name.endswith(COUNTER)),
        resized=tuple(
            f"{name} {tuple(found[name].shape)} to {tuple(own[name].shape)}"
            for name in matched
            if name in found and found[name].shape != own[name].shape
        ),
        neutral=neutral,
    )


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file by name, without the prefixes of wrappers; see `load_weights`."""
    content = read_torch_file(file, "model.weights")
    if isinstance(content, dict):
        content = next((content[key] for key in KEYS if isinstance(content.get(key), dict)), content)
    tensors = content.items() if isinstance(content, dict) else ()
    state = {_strip_prefixes(name): tensor for name, tensor in tensors if isinstance(tensor, torch.Tensor)}
    if not state:
        raise UserError(f"model.weights: {file} contains no state dict (name -> tensor)")
    return merge_tensors(state)


def merge_tensors(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a file by the names of the plain network: its adapters, if any, are added to its weights."""
    merged = dict(state)
    for name in [name for name in state if name.endswith(ORIGINAL)]:
        layer = name.removesuffix(ORIGINAL)
        up, down, scale = (merged.pop(f"{layer}parametrizations.weight.0.{part}") for part in ("up", "down", "scale"))
        merged[f"{layer}weight"] = merged.pop(name) + scale * (up @ down)
    return merged


def _without_chunks(state: Tensors) -> Tensors:
    """Names of DINOv2 without the number of the chunk; its blocks are counted through all chunks."""
    return {CHUNK.sub("blocks.", name): tensor for name, tensor in state.items()} if "mask_token" in state else state


def _strip_prefixes(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def _head_names(network: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    if not hasattr(network, "get_classifier"):  # not as in timm: all its tensors must fit
        return set()
    heads = network.get_classifier()  # type: ignore[operator]  # a module, or a tuple of them
    heads = heads if isinstance(heads, tuple) else (heads,)
    parts = {prefix: part for prefix, part in network.named_modules() if any(part is head for head in heads)}
    names = {f"{prefix}.{name}" for prefix, part in parts.items() for name in part.state_dict()}
    return {name for name in names if not name.endswith(COUNTER)}


def _convert_names(network: nn.Module, state: Tensors, file: Path) -> Tensors:
    """Rename the tensors of a file as in the network and, where timm does so, resize them."""
    own, head = network.state_dict(), _head_names(network)
    if are_efficientnet_pytorch(state):
        name = getattr(network, "pretrained_cfg", {}).get("architecture", "")
        if f"tf_{name}" in timm.list_models():
            raise UserError(f"model.weights: {file} is from EfficientNet-PyTorch; set model.backbone=tf_{name}")
        names = timm_names(state, own)
        state = {names[name]: tensor for name, tensor in state.items()}
    timm_filter = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if timm_filter and _mismatches(own, state, head):
        try:
            filtered: Tensors = timm_filter(dict(state), network)
        except Exception:  # any failure: a file of another network, which the caller reports
            return state
        return state if _mismatches(own, filtered, head) else filtered
    return state


def _mismatches(own: Tensors, state: Tensors, head: set[str]) -> list[str]:
    """Reasons why the tensors of a file do not fit a network, its head aside."""
    body = {name for name in own if name not in head and not name.endswith(COUNTER)}
    parts = {name.split(".")[0] for name in body}
    scales = _absent_scales(own, state)
    missing = [name for name in own if name in body and name not in state and name not in scales]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in body and name in state and state[name].shape != own[name].shape
    ]
    deeper = [name for name in state if name not in own and name.split(".")[0] in parts and not name.endswith(COUNTER)]
    found = {"missing": missing, "of another shape": shapes, "not in the network": deeper}
    return [f"{what} {shorten(names)}" for what, names in found.items() if names]


def _absent_scales(own: Tensors, state: Tensors) -> tuple[str, ...]:
    """Names of the LayerScale tensors of a network if a file has none at all."""
    has_scales = any(LAYER_SCALE.fullmatch(name) for name in state)
    return () if has_scales else tuple(name for name in own if LAYER_SCALE.fullmatch(name))


def _reason(own: Tensors, state: Tensors, reinitialized: tuple[str, ...]) -> str:
    """Why a head is re-initialised."""
    shapes = [(own[name].shape, state[name].shape) for name in reinitialized if name in state]
    other = [f"{ours[0]} classes instead of {theirs[0]}" for ours, theirs in shapes if ours[:1] != theirs[:1]]
    return other[0] if other else "of another shape in the file" if shapes else "not in the file"
