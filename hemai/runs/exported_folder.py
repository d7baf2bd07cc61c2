"""Read the folder of `hemai export --format safetensors`: JSON and tensors, which hold no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from hemai.runs.checkpoint import check_content
from hemai.utils.errors import UserError, one_line
from hemai.utils.files import read_regular_file
from hemai.utils.tensor_files import read_torch_file

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"  # names of the Hugging Face Hub and of timm
OWN_KEY = "hemai"  # in CONFIG: what makes the folder a run; timm ignores it
MAX_BYTES = 5_000_000  # a config has about 3 kB


def is_exported(folder: Path) -> bool:
    """Whether a path is a folder with a config and weights of a network, as exported or fetched from the hub."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """What hemai wrote into the config of an exported folder, unchecked.

    Raises:
        UserError: A file that cannot be read, or a network that hemai did not export.
    """
    file = folder / CONFIG
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{size:,} bytes, expected {MAX_BYTES:,} or fewer")
        config = json.loads(read_regular_file(file), parse_constant=_refuse)
        json.dumps(config, ensure_ascii=False).encode()  # JSON may spell half a character, which no file can hold
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); export the run again") from error
    own = config.get(OWN_KEY) if isinstance(config, dict) else None
    if not isinstance(own, dict):
        raise UserError(
            f"{folder} is not a hemai model: {CONFIG} has no section {OWN_KEY}; expected a folder of hemai export "
            "--format safetensors. To train from a network of timm: model=timm model.backbone=..."
        )
    return own


def read_exported(folder: Path) -> dict[str, Any]:
    """Content of an exported folder in the form of a checkpoint, see `hemai.runs.checkpoint.read_checkpoint`.

    Raises:
        UserError: A file that cannot be read, a network that hemai did not export, or values that cannot be.
    """
    own, tensors = read_config(folder), read_torch_file(folder / WEIGHTS, "RUN")
    content = {**own, "state_dict": {f"backbone.{name}": tensor for name, tensor in tensors.items()}}
    return check_content(content, folder / CONFIG)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
