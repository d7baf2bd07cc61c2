"""Allowlist of the code that run folders and checkpoints may name; those of strangers are data and run no code.

Hydra imports and calls whatever `_target_` names, so settings that were read back are compared with an allowlist
before anything is imported: classes that hemai's own configs name, transforms of albumentations, loggers and
callbacks of Lightning, and installed packages that declare themselves by an entry point of the group `hemai`.
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
from hemai.settings.timm_names import READ_BY_TIMM, SOURCES
from hemai.settings.upgrade import upgrade_names
from hemai.utils.errors import UserError

NAMES = ("_target_", "dataset", "backbone")  # keys whose values name code
# Hydra's own settings that differ between two commands with the same configs.
COMMAND_SETTINGS = re.compile(r"(runtime|overrides|searchpath|job\.(name|id|num|override_dirname))(\.|$)")
PLAIN = re.compile(r"\$\{(?:best_precision:\$\{\.accelerator\}|[\w.]+)\}")  # another setting, or hemai's own resolver
OUTSIDE_RUN_FOLDER = re.compile(r"[\w+]+://|[/\\~]|.*\.\.")  # a URL, or a path outside the run folder
INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
TRUST_HINT = (
    "If you know who made it, --trust runs the code that it names; a package of your own needs no --trust if it "
    "declares an entry point of the group hemai"
)


def check_names(tree: Any, source: object) -> None:
    """Refuse settings that were read back if they name code that is not on the allowlist.

    Args:
        tree: Nested mappings and lists.
        source: Origin of the settings, for the message.

    Raises:
        UserError: A name off the allowlist, before any of its code is imported.
    """
    for path, value in _leaves(tree):
        key = ".".join(path)
        if "_target_" in path[:-1] or any(re.fullmatch("_[a-z]+_", word) and word != "_target_" for word in path):
            raise UserError(f"{source}: {key} changes how objects are built and is refused. {TRUST_HINT}")
        if any(above == "options" and word in READ_BY_TIMM for above, word in pairwise(path)):
            raise UserError(f"{source}: {key} makes timm read files and is refused. {TRUST_HINT}")
        # The settings of a run may name one, for its start alone: later the network is built from the checkpoint.
        if "backbone" in path and str(value).startswith(SOURCES) and path != ("model", "backbone"):
            raise UserError(f"{source}: {key}={value} makes timm read files and is refused. {TRUST_HINT}")
        last = next((word for word in reversed(path) if not word.isdigit()), "")  # also of a list of names
        if last in NAMES and value is not None and not (last == "backbone" and _makes_timm(value)):
            if is_trusted(value):
                continue
            raise UserError(
                f"{source}: {key}={value} is refused; expected a class of hemai, a transform of albumentations, a "
                f"logger or callback of Lightning, or code of a package that declares itself to hemai. {TRUST_HINT}"
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
    """Whether timm builds a backbone: a name without a dot is never imported, others may end with a tag of timm."""
    import timm

    name, _, tag = str(backbone).partition(".")
    return not tag or name in timm.list_models() or str(backbone).startswith(SOURCES)


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
    # Only names defined in a module of the package itself: no attribute chains such as package.os.system.
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            return False
        raise UserError(f"{name} cannot be imported: {error}") from error
    except AttributeError:
        return False
    except Exception as error:  # of any kind: importing the package runs its code
        raise UserError(f"{name} cannot be imported: {error}") from error
    return f"{getattr(found, '__module__', '')}.".startswith(f"{package}.") and _is_of_kind(found, package)


def check_prepare(prepare: Any, source: object, trust: bool = False) -> None:
    """Refuse a prepare list that cannot be rebuilt from known classes.

    `albumentations.from_dict` looks classes up among those already imported, and imports none. Classes of packages on
    the allowlist are imported here.

    Raises:
        UserError: An unknown class, one that holds functions such as Lambda, arguments that a class refuses, or no flat
            list.
    """
    import albumentations as A

    for path, name in _leaves(prepare):
        if path[-1] == "__class_fullname__" and "." in str(name) and not is_trusted(name) and trust:
            resolve_name(str(name))
    try:
        compose = A.from_dict(prepare)
        if not isinstance(compose, A.Compose) or not all(
            isinstance(each, A.BasicTransform) for each in compose.transforms
        ):
            raise TypeError("expected a Compose of single transforms")
    except Exception as error:  # of any kind: each class checks its own arguments
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{source}: a transform of its prepare list is refused ({reason}). {TRUST_HINT}") from error


@cache
def _shipped() -> frozenset[str]:
    """Classes that hemai's own configs name."""
    texts = (file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml"))
    return frozenset(name for text in texts for name in re.findall(r"\b(?:_target_|dataset): *([\w.]+)", text))


@cache
def _shipped_values() -> frozenset[str]:
    """Values that hemai's own configs compute, such as a URL from the user's own environment."""
    texts = (file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml"))
    return frozenset(value for text in texts for value in re.findall(r'"(\$\{[^"]+\})"', text))


def _packages() -> list[str]:
    """Packages that may be named; those with an entry point were installed by the user's own choice."""
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
    """Refuse overrides that were read back if they set Hydra itself or compute values.

    Raises:
        UserError: Such an override, named in the message.
    """
    for override in parse(overrides):
        key, text = str(override.key_or_group), str(override.input_line)
        is_search_path = key == SEARCH_PATH and text == search_path(config_folders([text]))
        if re.match(r"hydra\b", key) and not is_search_path:
            raise UserError(f"{source}: {text} sets Hydra itself and is refused. {TRUST_HINT}")
        _check_interpolations(text, f"{source}: {text}")


def check_composed(config: DictConfig, typed: Sequence[str], source: object) -> None:
    """Refuse a configuration composed from stored overrides if it names code off the allowlist or sets Hydra itself.

    The config folders that a run names are trusted no more than the run.

    Args:
        config: With Hydra's own settings under `hydra`; see `hemai.settings.compose.compose_unchecked`.
        typed: Overrides that the user typed; they may set Hydra.
        source: Origin of the other overrides, for the message.

    Raises:
        UserError: Such a setting; the message names the first.
    """
    expected = compose_unchecked([override for override in typed if re.match(r"[+~]*hydra[./]", override)])
    found, usual = (dict(_hydra_settings(each)) for each in (config, expected))
    if differing := sorted(key for key in found | usual if found.get(key) != usual.get(key)):
        raise UserError(f"{source}: its configs set hydra.{differing[0]}, which is refused. {TRUST_HINT}")
    tree: Any = OmegaConf.to_container(config)
    del tree["hydra"]
    if tree["trust"] is not False:  # a config of the run's folders may set it, also through a group at this key
        raise UserError(f"{source}: its settings set trust={tree['trust']}, which is refused. {TRUST_HINT}")
    if tree["run_dir"] is not None or not isinstance(tree["resume"], str | None):
        raise UserError(f"{source}: its settings set run_dir or resume, which is refused. {TRUST_HINT}")
    for path, value in _leaves(tree):
        key = ".".join(path)
        if isinstance(value, str):
            _check_interpolations(value, f"{source}: {key}={value}")
            is_typed = any(override.lstrip("+").startswith(f"{key}=") for override in typed)
            if path[0] in ("logger", "callbacks", "trainer") and OUTSIDE_RUN_FOLDER.match(value) and not is_typed:
                problem = f"{key}={value} writes or sends outside the run folder; repeat it on the command line"
                raise UserError(f"{source}: {problem}. {TRUST_HINT}")
    # Hydra's own interpolations have values only during a run.
    check_names(OmegaConf.to_container(OmegaConf.masked_copy(config, list(tree)), resolve=True), source)


def _hydra_settings(config: DictConfig) -> Iterator[tuple[str, Any]]:
    tree = OmegaConf.to_container(config.hydra)
    leaves = ((".".join(path), value) for path, value in _leaves(tree))
    return ((key, value) for key, value in leaves if not COMMAND_SETTINGS.match(key))


def _check_interpolations(text: str, label: str) -> None:
    """Allow references to settings; resolvers may change, and read files and environment variables."""
    if text not in _shipped_values() and INTERPOLATION.search(PLAIN.sub("_", text)):
        raise UserError(f"{label} computes its value and is refused. {TRUST_HINT}")
