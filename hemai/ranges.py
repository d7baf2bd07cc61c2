"""Ranges of settings, checked where a setting is used: in constructors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hemai.errors import UserError


def check_whole(name: str, value: Any, low: int, also: str = "") -> None:
    """Refuse what is not a whole number from `low` on.

    Args:
        name: Of the setting, for the message.
        value: Given by the user.
        low: Smallest allowed value.
        also: What else is allowed, in words for the message, such as ", or auto".

    Raises:
        UserError: With what was found and what is expected.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise UserError(f"{name}={value}: expected a whole number, {low} or more{also}")


def check_fraction(name: str, value: Any) -> None:
    """Refuse what is not a number from 0 to 1.

    Raises:
        UserError: With what was found and what is expected.
    """
    check_number(name, value, 0, 1)


def check_number(name: str, value: Any, low: float = 0, high: float = math.inf) -> None:
    """Refuse what is not a finite number from `low` to `high`.

    Raises:
        UserError: With what was found and what is expected.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # NaN is in no range
        upper = "or more" if high == math.inf else f"to {high}"
        raise UserError(f"{name}={value}: expected {low} {upper}")


def check_finite(name: str, settings: Any, low: float = -math.inf) -> None:
    """Refuse NaN, infinities and numbers below `low` anywhere in nested settings.

    Args:
        name: Of the settings, for the message.
        settings: Mappings, lists, numbers and anything else, which passes.
        low: Smallest allowed number.

    Raises:
        UserError: With the key of the number.
    """
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            check_finite(f"{name}.{key}" if name else str(key), value, low)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for position, value in enumerate(settings):
            check_finite(f"{name}[{position}]", value, low)
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise UserError(f"{name}={settings}: expected a finite number")
    elif isinstance(settings, (int, float)) and not isinstance(settings, bool) and settings < low:
        raise UserError(f"{name}={settings}: expected {low:g} or more")
