"""Read the checkpoint of a run, and refuse one that is damaged before anything is built from it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hemai.data.appearance import is_appearance
from hemai.evaluation.predictions import GROUP_KINDS
from hemai.settings.upgrade import check_format, upgrade_hparams
from hemai.utils.errors import UserError, one_line
from hemai.utils.tensor_files import read_torch_file


def read_checkpoint(file: Path, key: str) -> dict[str, Any]:
    """Read a checkpoint of hemai, with the hyperparameters of the current format.

    Args:
        file: Path of the checkpoint.
        key: Setting that gave the path, for error messages.

    Raises:
        UserError: No such file, not a checkpoint of hemai, or one whose values cannot be.
    """
    return check_content(read_torch_file(file, key), file)


def check_content(content: Any, file: Path) -> dict[str, Any]:
    """Content of a checkpoint with the hyperparameters of the current format, refused if its values cannot be.

    Args:
        content: What the file holds.
        file: Its path, for error messages.

    Raises:
        UserError: Not of hemai, or a value that cannot be.
    """
    if isinstance(content, dict):
        check_format(content, file)
    hparams = content.get("hyper_parameters") if isinstance(content, dict) else None
    hparams = upgrade_hparams(hparams) if isinstance(hparams, dict) else {}
    metadata = hparams.get("metadata")
    if not isinstance(metadata, dict) or not {"data", "group_kind", "prepare"} <= metadata.keys():
        raise UserError(f"{file} is not a hemai checkpoint; expected one that python train.py wrote")
    content = {**content, "hyper_parameters": hparams}
    for expected, values in ((CONTENT, content), (HPARAMS, hparams), (METADATA, metadata)):
        for name, (is_valid, words) in expected.items():
            if name in values and not is_valid(values[name]):
                found = one_line(repr(values[name]), 80)
                raise UserError(f"{file} is damaged: {name}={found}, expected {words}; copy it again")
    if missing := [name for name in ("state_dict", "epoch") if name not in content]:
        raise UserError(f"{file} is damaged: it has no {missing[0]}; copy it again")
    return content


def load_tensors(model: nn.Module, content: Mapping[str, Any], file: Path) -> None:
    """Load the tensors of a checkpoint into its network.

    Raises:
        UserError: Tensors that are missing, of another shape, or not of this network.
    """
    try:
        model.load_state_dict(content["state_dict"])
    except (TypeError, RuntimeError, KeyError) as error:
        raise UserError(f"{file} does not fit its network ({one_line(error)}); copy it again") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and not tensor.isnan().any()
        for name, tensor in value.items()
    )


def _are_classes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == len(set(map(str, value))) > 1 and _are_names(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not re.search(r"[\ud800-\udfff]", value)  # half a character: not UTF-8


def _is_name(value: Any) -> bool:
    return _is_text(value) and not re.search(r"[\x00-\x1f\x7f-\x9f]", value)


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_a(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


Expected = dict[str, tuple[Callable[[Any], bool], str]]  # name -> check, and words for what it expects
COUNT = (_or_none(_is_whole), "a whole number")
CONTENT: Expected = {
    "state_dict": (_are_tensors, "tensors by name, without NaN"),
    "epoch": (_is_whole, "a whole number, 0 or more"),
    "hemai_format": (_is_whole, "a whole number"),
}
HPARAMS: Expected = {
    "classes": (_are_classes, "two different class names or more"),
    "positive": (_are_names, "class names"),
    "backbone": (_is_name, "the name of a network"),
    "test_time_augmentation": (_is_a(bool), "true or false"),
}
METADATA: Expected = {
    "data": (_is_name, "the name of a data set, without control characters"),
    "group_kind": (lambda value: value in GROUP_KINDS, " or ".join(GROUP_KINDS)),
    "split_hash": (_is_a(str), "a hash"),
    "versions": (_is_a(dict), "versions by package"),
    "source": (_is_a(dict), "licence, citation and images of the initial weights"),
    "probe": (_is_a(dict), "how the last layer was fitted"),
    "appearance": (_or_none(is_appearance), "a summary of the training images"),
    "threshold": (_or_none(lambda value: _is_number(value) and 0 <= value <= 1), "a number from 0 to 1"),
    "temperature": (_or_none(lambda value: _is_number(value) and value > 0), "a number above 0"),
    "abstain_below": (_or_none(lambda value: _is_number(value) and 0 <= value <= 1), "a number from 0 to 1"),
    "threshold_rule": (_or_none(_is_text), "words"),
    "threshold_sensitivity": (_or_none(_is_number), "a number"),
    "threshold_images": COUNT,
    "threshold_groups": COUNT,
    "recalibration": (
        _or_none(lambda value: isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))),
        "two numbers",
    ),
}
