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
from hemai.utils.errors import UserError


def build_group(config: DictConfig | None) -> list[Any]:
    """Every object of a group that maps names to arguments, such as `callbacks`.

    Raises:
        UserError: See `build`.
    """
    for name, settings in (config or {}).items():
        if not isinstance(settings, DictConfig) or "_target_" not in settings:
            raise UserError(f"{name!s}={settings}: expected a mapping with _target_, such as the class of a callback")
    return [build(settings) for settings in (config or {}).values()]


def build(config: DictConfig, **arguments: Any) -> Any:
    """Call the `_target_` of a configuration.

    Raises:
        UserError: Also for a misspelt argument of albumentations and a value that is refused;
            Hydra would wrap them all.
    """
    try:
        return instantiate(_evaluated(config), **literal(literal(arguments)), _convert_="all")
    except InstantiationException as error:
        causes = _causes(error)
        for kind in (UserError, ValidationError, Warning, TypeError, ValueError, ImportError, OSError):
            for cause in causes:
                if isinstance(cause, kind):
                    raise cause if kind is UserError else UserError(_message(cause, _key(error, config))) from error
        raise


def _evaluated(config: DictConfig) -> DictConfig:
    """The same with its values in place of interpolations.

    Hydra evaluates twice on the way to the call: a path that holds `${` would be an interpolation after all.
    """
    made: DictConfig = OmegaConf.create(literal(literal(upgrade_names(OmegaConf.to_container(config, resolve=True)))))
    made._set_parent(config._get_parent())  # for the full key in errors
    made._set_key(config._key())
    return made


def _causes(error: BaseException | None) -> list[BaseException]:
    """An error and those that led to it."""
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]


def _key(error: InstantiationException, config: DictConfig) -> str:
    """The key of the setting that could not be built; Hydra tells it at the end of its text."""
    told = re.search(r"full_key: (\S+)\s*$", str(error))
    return told[1] if told else str(config._get_full_key(None))


def _message(cause: BaseException, key: str) -> str:
    if not isinstance(cause, ValidationError):
        return f"{key}: {cause}"
    # pydantic names the argument and the kind of value that it tried: one line is enough for each argument.
    wrong: dict[str, tuple[Any, list[str]]] = {}
    for problem in cause.errors():
        argument = str(problem["loc"][0]) if problem["loc"] else ""
        wrong.setdefault(argument, (problem["input"], []))[1].append(problem["msg"])
    return "; ".join(
        f"{key}.{argument}{'' if isinstance(value, dict) else f'={value}'}: {', or '.join(messages)}"
        for argument, (value, messages) in wrong.items()
    )
