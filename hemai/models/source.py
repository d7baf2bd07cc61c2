"""Published models by name: `hf-hub:OWNER/NAME` and `local-dir:FOLDER`, in the layout of `timm.models.save_for_hf`.

Only `config.json` and the tensors are read; nothing of them is run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from hemai.settings.timm_names import READ_BY_TIMM, SOURCES
from hemai.utils.errors import UserError, did_you_mean, one_line
from hemai.utils.files import read_regular_file

CONFIG = "config.json"
TENSORS = ("model.safetensors", "pytorch_model.bin")  # the first that the model has
EXPECTED = "expected hf-hub:OWNER/NAME or local-dir:FOLDER with config.json, as timm.models.save_for_hf writes them"


@dataclass(frozen=True)
class PublishedModel:
    """What `config.json` says of a model.

    Attributes:
        architecture: Name of the network in timm.
        options: Its further arguments.
        facts: Of its weights: `mean` and `std` of the pixels, `license`, ...
    """

    architecture: str
    options: dict[str, Any]
    facts: Mapping[str, Any]


def is_source(name: object) -> bool:
    """Whether a name is `hf-hub:...` or `local-dir:...`."""
    return str(name).startswith(SOURCES)


def short_name(backbone: str) -> str:
    """Last part of a source, for names of folders; other names stay as they are."""
    return Path(backbone.partition(":")[2]).name if is_source(backbone) else backbone


def read_source(name: str, key: str = "model.backbone") -> PublishedModel:
    """Read what a published model is.

    Args:
        name: `hf-hub:OWNER/NAME`, also with `@REVISION`; or `local-dir:FOLDER`.
        key: Setting that gave the name, for error messages.

    Raises:
        UserError: No such folder or model, the hub is not reachable, or `config.json` is not one of timm.
    """
    file = _fetch(name, [CONFIG], key)
    if file is None:
        raise UserError(f"{key}={name}: it has no {CONFIG}; {EXPECTED}")
    try:
        content = json.loads(read_regular_file(file))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{key}={name}: its {CONFIG} is damaged ({one_line(error)}); {EXPECTED}") from error
    if not isinstance(content, dict) or not isinstance(architecture := content.get("architecture"), str):
        is_foreign = isinstance(content, dict) and {"model_type", "architectures"} & content.keys()
        kind = "is of transformers, not of timm" if is_foreign else "names no architecture"
        raise UserError(f"{key}={name}: its {CONFIG} {kind}; {EXPECTED}, or a file of tensors by model.weights=FILE")
    if architecture not in timm.list_models():
        hint = did_you_mean(architecture, timm.list_models())
        raise UserError(f"{key}={name}: timm {timm.__version__} has no architecture {architecture}{hint}; upgrade timm")
    options, facts = content.get("model_args") or {}, content.get("pretrained_cfg", content)
    if not isinstance(options, dict) or not isinstance(facts, dict):
        raise UserError(f"{key}={name}: model_args and pretrained_cfg of its {CONFIG} are no mappings; {EXPECTED}")
    if read := sorted(options.keys() & set(READ_BY_TIMM)):
        raise UserError(f"{key}={name}: model_args.{read[0]} of its {CONFIG} makes timm read files and is refused")
    return PublishedModel(architecture, {name: options[name] for name in options if name != "num_classes"}, facts)


def weights_file(weights: str, key: str = "model.weights") -> Path:
    """Path of the file with the tensors of a source; that of a file is itself.

    Raises:
        UserError: No such folder or model, it has no tensors, or the hub is not reachable.
    """
    if not is_source(weights):
        return Path(weights)
    if file := _fetch(weights, TENSORS, key):
        return file
    raise UserError(f"{key}={weights}: it has neither {' nor '.join(TENSORS)}; name a file by model.weights=FILE")


def _fetch(name: str, files: Sequence[str], key: str) -> Path | None:
    """Path of the first of some files that a model has, from the hub or its cache; None if it has none of them."""
    kind, _, place = name.partition(":")
    if kind == "local-dir":
        if not place or not Path(place).is_dir():
            raise UserError(f"{key}={name}: no folder at {place}; {EXPECTED}")
        return next((path for path in (Path(place) / file for file in files) if path.is_file()), None)
    repository, _, revision = place.partition("@")
    unreachable = False
    with offline_if_hub_unreachable():
        for file in files:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
            except EntryNotFoundError as error:
                unreachable = isinstance(error, LocalEntryNotFoundError)
            except (HfHubHTTPError, HFValidationError, OSError) as error:  # no such model, one that needs a token, ...
                raise UserError(f"{key}={name}: {one_line(error).rstrip('.')}; {EXPECTED}") from error
    if unreachable:
        raise UserError(
            f"{key}={name}: the hub is not reachable, and {files[0]} was not fetched before; fetch the model where "
            "there is a network, or name a folder (local-dir:FOLDER) or a file (model.weights=FILE)"
        )
    return None


@contextmanager
def offline_if_hub_unreachable(needed: bool = True) -> Iterator[None]:
    """Restrict the hub's client to its cache if the hub does not answer.

    By itself the client asks seven times for each of two files: 47 s with huggingface_hub 2.4 and no network, up to
    minutes behind a silent firewall.
    """
    settings = huggingface_hub.constants
    before = settings.HF_HUB_OFFLINE
    if needed and not before:
        try:
            huggingface_hub.get_session().head(settings.ENDPOINT, timeout=10)
        except Exception:  # its kind depends on the client's version
            settings.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        settings.HF_HUB_OFFLINE = before
