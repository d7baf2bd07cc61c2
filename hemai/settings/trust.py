"""Which code a run folder or a checkpoint may name. One from a stranger is data, and runs nothing.

Hydra imports and calls whatever `_target_` names, so what is read back is compared with an allowlist first, before
anything is imported: what hemai's own configs name, transforms of albumentations, loggers and callbacks of Lightning,
and installed packages that declare themselves by an entry point of the group `hemai`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from itertools import pairwise
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hemai.settings.compose import CONFIGS, compose_unchecked
from hemai.settings.overrides import SEARCH_PATH, config_folders, parse, search_path
from hemai.settings.upgrade import upgrade_names
from hemai.utils.errors import UserError

NAMES = ("_target_", "dataset", "backbone")  # keys whose values name code
# Arguments with which timm reads files or asks the hub, instead of making the network alone.
READ_BY_TIMM = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
# Hydra's own settings that differ between two commands with the same configs.
OF_A_COMMAND = re.compile(r"(runtime|overrides|searchpath|job\.(name|id|num|override_dirname))(\.|$)")
PLAIN = re.compile(r"\$\{(?:best_precision:\$\{\.accelerator\}|[\w.]+)\}")  # another setting, or what hemai registered
ELSEWHERE = re.compile(r"[\w+]+://|[/\\~]|.*\.\.")  # an address, or a path out of the run folder
INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
HOW_TO_GO_ON = (
    "If you know who made it, --trust runs the code that it names; a package of your own is known without it by an "
    "entry point of the group hemai"
)


def check_names(tree: Any, source: object) -> None:
    """Refuse settings that were read back if they name code that is not on the allowlist.

    Args:
        tree: Nested mappings and lists.
        source: Where it comes from, for the message.

    Raises:
        UserError: With the name; nothing of it was imported.
    """
    for path, value in _leaves(tree):
        key = ".".join(path)
        if "_target_" in path[:-1] or any(re.fullmatch("_[a-z]+_", word) and word != "_target_" for word in path):
            raise UserError(f"{source}: {key} changes how objects are made, and is refused. {HOW_TO_GO_ON}")
        if any(above == "options" and word in READ_BY_TIMM for above, word in pairwise(path)):
            raise UserError(f"{source}: {key} makes timm read files, and is refused. {HOW_TO_GO_ON}")
        last = next(
            (word for word in reversed(path) if not word.isdigit()), ""
        )  # a list of names is looked through too
        if last in NAMES and value is not None and not (last == "backbone" and _makes_timm(value)):
            if is_trusted(value):
                continue
            raise UserError(
                f"{source}: {key}={value} is refused: no class of hemai, no transform of albumentations, no logger or "
                f"callback of Lightning, and of no package that declares itself to hemai. {HOW_TO_GO_ON}"
            )


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(tree, (list, tuple)) and tree:
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, str(index)))
    elif path:
        yield path, tree


def _makes_timm(backbone: object) -> bool:
    """Whether a backbone is a name of timm: one without a dot is never imported, others may end with a tag."""
    import timm

    name, _, tag = str(backbone).partition(".")
    return not tag or name in timm.list_models()


def is_trusted(name: object) -> bool:
    """Whether a dotted name is on the allowlist.

    Raises:
        UserError: A name of an allowed package that cannot be imported.
    """
    name = str(upgrade_names(str(name)))
    if name in _shipped():
        return True
    package = next((package for package in _packages() if name.startswith(f"{package}.")), None)
    if package is None or not all(part.isidentifier() for part in name.split(".")):
        return False
    # Only what stands in a module of the package itself: no walk through its attributes, such as package.os.system.
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            return False
        raise UserError(f"{name} cannot be imported: {error}") from error
    except AttributeError:
        return False
    except Exception as error:  # of any kind: the package runs its own code
        raise UserError(f"{name} cannot be imported: {error}") from error
    return f"{getattr(found, '__module__', '')}.".startswith(f"{package}.") and _is_of_kind(found, package)


def check_prepare(prepare: Any, source: object, trust: bool = False) -> None:
    """Refuse a prepare list that cannot be made again from classes that are known.

    `albumentations.from_dict` looks a class up among those that were imported, and imports none. Those of packages on
    the allowlist are imported here.

    Raises:
        UserError: Another class, one that holds functions such as Lambda, or arguments that it refuses.
    """
    import albumentations as A

    for path, name in _leaves(prepare):
        if path[-1] == "__class_fullname__" and "." in str(name) and not is_trusted(name) and trust:
            resolve_name(str(name))
    try:
        A.from_dict(prepare)
    except Exception as error:  # of any kind: each class checks its own arguments
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(
            f"{source}: its prepare list has a transform that is refused ({reason}). {HOW_TO_GO_ON}"
        ) from error


@cache
def _shipped() -> frozenset[str]:
    """Classes that hemai's own configs name."""
    texts = (file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml"))
    return frozenset(name for text in texts for name in re.findall(r"\b(?:_target_|dataset): *([\w.]+)", text))


@cache
def _shipped_values() -> frozenset[str]:
    """Values that hemai's own configs compute, such as an address from the user's own environment."""
    texts = (file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml"))
    return frozenset(value for text in texts for value in re.findall(r'"(\$\{[^"]+\})"', text))


def _packages() -> list[str]:
    """Packages that may be named; an installed one is the user's own choice."""
    declared = (entry.module for entry in entry_points(group="hemai"))
    return ["albumentations", "pytorch_lightning.loggers", "pytorch_lightning.callbacks", "hemai.models", *declared]


def _is_of_kind(found: object, package: str) -> bool:
    import albumentations as A
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger
    from torch import nn

    kinds: dict[str, tuple[type, ...]] = {
        "albumentations": (A.BasicTransform, A.BaseCompose),
        "pytorch_lightning.loggers": (Logger,),
        "pytorch_lightning.callbacks": (pl.Callback,),
        "hemai.models": (nn.Module,),
    }
    if package in kinds:
        return inspect.isclass(found) and issubclass(found, kinds[package])
    return inspect.isclass(found) or inspect.isfunction(found)


def check_overrides(overrides: Sequence[str], source: object) -> None:
    """Refuse overrides that were read back if they set Hydra itself, or compute values.

    Raises:
        UserError: With the override.
    """
    for override in parse(overrides):
        key, text = str(override.key_or_group), str(override.input_line)
        remembered = key == SEARCH_PATH and text == search_path(config_folders([text]))
        if re.match(r"hydra\b", key) and not remembered:
            raise UserError(f"{source}: {text} sets Hydra itself, and is refused. {HOW_TO_GO_ON}")
        _check_interpolations(text, f"{source}: {text}")


def check_composed(config: DictConfig, typed: Sequence[str], source: object) -> None:
    """Refuse a configuration composed from what was read back, if it names code or sets Hydra itself.

    The config folders that a run remembers are as strange as the run.

    Args:
        config: With Hydra's own settings under `hydra`; see `hemai.settings.compose.compose_unchecked`.
        typed: What the user typed, who may set Hydra.
        source: Where the rest comes from, for the message.

    Raises:
        UserError: With the first setting.
    """
    expected = compose_unchecked([override for override in typed if re.match(r"[+~]*hydra[./]", override)])
    found, usual = (dict(_hydra_settings(each)) for each in (config, expected))
    if differing := sorted(key for key in found | usual if found.get(key) != usual.get(key)):
        raise UserError(f"{source}: its configs set hydra.{differing[0]}, which is refused. {HOW_TO_GO_ON}")
    tree: Any = OmegaConf.to_container(config)
    del tree["hydra"]
    if tree["trust"] is not False:  # a group may be put at this key, and a config of its folder may set it
        raise UserError(f"{source}: its settings set trust={tree['trust']}, which is refused. {HOW_TO_GO_ON}")
    if tree["run_dir"] is not None or not isinstance(tree["resume"], str | None):
        raise UserError(f"{source}: its settings set run_dir or resume, which is refused. {HOW_TO_GO_ON}")
    for path, value in _leaves(tree):
        key = ".".join(path)
        if isinstance(value, str):
            _check_interpolations(value, f"{source}: {key}={value}")
            is_typed = any(override.lstrip("+").startswith(f"{key}=") for override in typed)
            if path[0] in ("logger", "callbacks", "trainer") and ELSEWHERE.match(value) and not is_typed:
                raise UserError(f"{source}: {key}={value} writes or sends elsewhere; type it again. {HOW_TO_GO_ON}")
    # Hydra's own interpolations have values in a run alone.
    check_names(OmegaConf.to_container(OmegaConf.masked_copy(config, list(tree)), resolve=True), source)


def _hydra_settings(config: DictConfig) -> Iterator[tuple[str, Any]]:
    tree = OmegaConf.to_container(config.hydra)
    leaves = ((".".join(path), value) for path, value in _leaves(tree))
    return ((key, value) for key, value in leaves if not OF_A_COMMAND.match(key))


def _check_interpolations(text: str, told: str) -> None:
    """Other settings may be named; functions (resolvers) read files and variables of the machine, and change."""
    if text not in _shipped_values() and INTERPOLATION.search(PLAIN.sub("_", text)):
        raise UserError(f"{told} computes its value, and is refused. {HOW_TO_GO_ON}")
