"""Errors that a user can fix, and the checks of settings that raise them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # names in untrusted files may contain terminal commands


class UserError(ValueError):
    """Error that the user can fix: a wrong path, file, name or setting.

    The message says what was found, what was expected and what to do.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Suggest the option that looks most like `name`.

    Returns:
        `"; did you mean 'x'?"`, or an empty string if no option is similar.
    """
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[found[0]]}'?" if found else ""


def shorten(names: Iterable[object], most: int = 5) -> str:
    """List the first names and the number of the others: `a, b, c and 7 more`."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def one_line(text: object, most: int = 300) -> str:
    """Text without line breaks, cut after `most` characters."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[:most]}..."


def check_whole(name: str, value: Any, low: int, also: str = "") -> None:
    """Refuse a value that is not a whole number, `low` or more.

    Args:
        name: Name of the setting, for the message.
        value: Value given by the user.
        low: Smallest allowed value.
        also: Other allowed values, for the message, such as ", or auto".

    Raises:
        UserError: The message names the value and what is expected.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise UserError(f"{name}={value}: expected a whole number, {low} or more{also}")


def check_fraction(name: str, value: Any) -> None:
    """Refuse a value that is not a number from 0 to 1.

    Raises:
        UserError: The message names the value and what is expected.
    """
    check_number(name, value, 0, 1)


def check_number(name: str, value: Any, low: float = 0, high: float = math.inf) -> None:
    """Refuse a value that is not a finite number from `low` to `high`.

    Raises:
        UserError: The message names the value and what is expected.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # NaN is in no range
        upper = "or more" if high == math.inf else f"to {high}"
        raise UserError(f"{name}={value}: expected {low} {upper}")


def check_finite(name: str, settings: Any, low: float = -math.inf) -> None:
    """Refuse NaN, infinities and numbers below `low` anywhere in nested settings.

    Args:
        name: Name of the settings, for the message.
        settings: Mappings, lists and numbers; other values pass unchecked.
        low: Smallest allowed number.

    Raises:
        UserError: The message names the key of the number.
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
