"""Compose the configuration with Hydra, and validate it."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hemai.settings.overrides import SEARCH_PATH, config_folders, quote, unreadable
from hemai.settings.validation import check_values, flatten
from hemai.utils.errors import UserError, did_you_mean, one_line, shorten

# In the wheel the configs lie inside the package, in a checkout beside it.
_PACKAGE = Path(__file__).parents[1]
CONFIGS = next(path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir())


def compose_unchecked(overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration without validation; Hydra's own settings are under `hydra`.

    Args:
        overrides: Quoted overrides; see `hemai.settings.overrides.quote`.

    Raises:
        UserError: An unknown group, name or key, with a suggestion; a config folder that is missing or holds no config,
            or a config whose name is already taken.
    """
    _check_folders(config_folders(overrides))
    if nameless := [override for override in overrides if override.lstrip("+~")[:1] in ("", "=", "@")]:
        raise UserError(f"cannot read '{nameless[0]}'; expected key=value")
    for override in _group_overrides(overrides):
        group, _, name = override.partition("=")
        if name.startswith("_"):
            raise UserError(f"{group}={name}: a part of other configs, not a choice{_choices(group)}")
    try:
        return _compose(overrides)
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [option for option in error.options or () if not option.startswith("_")]
        raise UserError(
            f"{group}={name}: no such choice{did_you_mean(name, options)} (expected {', '.join(options) or 'nothing'})"
        ) from error
    except OverrideParseException as error:
        raise unreadable(error) from error
    except ConfigCompositionException as error:
        raise _explain(error, overrides) from error
    except TypeError as error:  # such as callbacks=[1]
        raise UserError(f"cannot compose {' '.join(overrides)}: {one_line(error)}") from error
    except (ValueError, OmegaConfBaseException) as error:  # a group without a choice, such as model=null
        raise UserError(" ".join(str(error).split())) from error


def _choices(group: str) -> str:
    names = sorted(file.stem for file in (CONFIGS / group).glob("[!_]*.yaml"))
    return f" (expected {', '.join(names)})" if names else ""


def _compose(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra_compose("train", list(overrides), return_hydra_config=True)


def _check_folders(folders: Sequence[Path]) -> None:
    seen = {path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")} if folders else set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no config folder at {folder}; correct or remove --config-dir")
        if "${" in str(folder):
            raise UserError(f"Hydra cannot read configs in {folder}, whose name contains ${{; rename it")
        own = {path.relative_to(folder) for path in folder.glob("*/**/*.yaml")}
        if not own:
            raise UserError(f"no config in {folder}; expected {folder}/model/NAME.yaml, data/NAME.yaml or similar")
        # Hydra silently takes the first of two files of one name, so the user's file would have no effect.
        if twice := sorted(path.as_posix() for path in own & seen):
            raise UserError(f"{folder}: hemai or another config folder also has {shorten(twice)}; choose another name")
        seen |= own


def _explain(error: HydraException, overrides: Sequence[str]) -> UserError:
    message = f"{error} {error.__cause__ or ''}"
    found = re.search(r"Could not (?:override|append to|delete) '([^']+)'", message)
    if found is None:
        return UserError(" ".join(message.split()))
    key = found[1].split("@")[0].strip("+=")
    if not re.search("not in struct|No match", message):
        return UserError(" ".join(message.split()))
    kept = [each for each in overrides if each[0] != "~" and re.split("[=@]", each.lstrip("+"))[0] != key]
    known = {name for leaf in defaults(kept) for name in (leaf, leaf.rpartition(".")[0]) if name}
    if key in known:
        return UserError(one_line(message))
    return UserError(f"unknown key '{key}'{did_you_mean(key, known)} (python train.py --cfg job lists all keys)")


def defaults(overrides: Sequence[str]) -> dict[str, Any]:
    """Every key with its default, for the selected configs: `data=cnmc` has other keys than `data=folder`."""
    files = (file for folder in config_folders(overrides) for file in folder.rglob("*.yaml"))
    edited = max((file.stat().st_mtime_ns for file in files), default=0)  # users edit configs between two calls
    # A copy: a caller that changes a list in it must not change the cached defaults.
    return copy.deepcopy(_defaults(tuple(_group_overrides(overrides)), edited))


@lru_cache(maxsize=64)
def _defaults(choices: tuple[str, ...], edited: int) -> dict[str, Any]:
    config = OmegaConf.to_container(_compose(choices))
    assert isinstance(config, dict)
    return flatten({key: value for key, value in config.items() if key != "hydra"})


def _group_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides that select config files, including the search path."""
    roots = [CONFIGS, *config_folders(overrides)]
    groups = {SEARCH_PATH} | {folder.name for root in roots for folder in root.iterdir() if folder.is_dir()}
    keys = [re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0] for override in overrides]
    return [
        override
        for override, key in zip(overrides, keys, strict=True)
        if key in groups or ("/" in key and not key.startswith("hydra/"))
    ]


def hydra_metadata(overrides: Sequence[str]) -> dict[str, Any]:
    """Search path and selected configs for a run folder, in the format of Hydra's own `.hydra/hydra.yaml`."""
    quoted = [quote(override) for override in overrides]
    # In train.py Hydra is already running and cannot compose again.
    hydra = HydraConfig.get() if HydraConfig.initialized() else compose_unchecked(_group_overrides(quoted)).hydra
    choices = {group: choice for group, choice in hydra.runtime.choices.items() if not group.startswith("hydra/")}
    return {"hydra": {"searchpath": list(hydra.searchpath), "runtime": {"choices": choices}}}


def best_precision(accelerator: str) -> str:
    """Precision of the Trainer: `bf16-mixed` if the hardware has bfloat16 instructions, else `32-true`."""
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16-mixed" if accelerator in ("auto", "cpu") and has_bf16 else "32-true"


OmegaConf.register_new_resolver("best_precision", best_precision, replace=True)


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose and validate a configuration; errors suggest a similar name for an unknown one.

    Args:
        overrides: `group=name` and `key=value`, in Hydra's grammar except for paths; see `hemai.settings.overrides`.

    Raises:
        UserError: An unknown group, name or key; a missing or wrong value.
    """
    overrides = [quote(override) for override in overrides]
    config = compose_unchecked(overrides)
    with open_dict(config):
        del config.hydra
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{missing[0]} has no value; set it on the command line: {missing[0]}=...")
        settings = flatten(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    check_values(settings, defaults(overrides))
    return config
