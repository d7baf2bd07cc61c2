"""Build objects from a configuration."""

from __future__ import annotations

import re
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from hemai.settings.overrides import literal
from hemai.settings.upgrade import upgrade_names
from hemai.utils.errors import UserError, one_line
from hemai.utils.failures import causes_of


def build_group(config: DictConfig | None) -> list[Any]:
    """Build every object of a group that maps names to arguments, such as `callbacks`.

    Raises:
        UserError: See `build`.
    """
    for name, settings in (config or {}).items():
        if not isinstance(settings, DictConfig) or "_target_" not in settings:
            raise UserError(f"{name!s}={settings}: expected a mapping with _target_, such as the class of a callback")
    return [build(settings) for settings in (config or {}).values()]


def build(config: DictConfig, **arguments: Any) -> Any:
    """Build the object whose class `_target_` of a configuration names.

    Raises:
        UserError: A misspelt argument, also of albumentations, or a refused value; Hydra would wrap these errors.
    """
    try:
        return instantiate(_resolved(config), **literal(literal(arguments)), _convert_="all")
    except InstantiationException as error:
        causes = causes_of(error)
        for kind in (UserError, ValidationError, Warning, TypeError, ValueError, ImportError, OSError):
            for cause in causes:
                if isinstance(cause, kind):
                    raise cause if kind is UserError else UserError(_message(cause, _key(error, config))) from error
        if len(causes) == 1:  # Hydra's own: nothing was called
            raise UserError(f"{_key(error, config)}: {one_line(error)}") from error
        raise


def _resolved(config: DictConfig) -> DictConfig:
    """Resolve all interpolations of a configuration.

    Hydra resolves twice before the call: a path that contains `${` would become an interpolation.
    """
    settings = upgrade_names(OmegaConf.to_container(config, resolve=True))
    resolved: DictConfig = OmegaConf.create(literal(literal(settings)))
    resolved._set_parent(config._get_parent())  # for the full key in errors
    resolved._set_key(config._key())
    return resolved


def _key(error: InstantiationException, config: DictConfig) -> str:
    """Key of the setting that could not be built, which Hydra puts at the end of its message."""
    match = re.search(r"full_key: (\S+)\s*$", str(error))
    return match[1] if match else str(config._get_full_key(None))


def _message(cause: BaseException, key: str) -> str:
    if not isinstance(cause, ValidationError):
        return f"{key}: {cause}"
    # pydantic reports an argument once for each type that it tried: join these messages.
    wrong: dict[str, tuple[Any, list[str]]] = {}
    for problem in cause.errors():
        argument = str(problem["loc"][0]) if problem["loc"] else ""
        wrong.setdefault(argument, (problem["input"], []))[1].append(problem["msg"])
    return "; ".join(
        f"{key}.{argument}{'' if isinstance(value, dict) else f'={value}'}: {', or '.join(messages)}"
        for argument, (value, messages) in wrong.items()
    )
