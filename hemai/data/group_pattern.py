"""Regular expressions that find the group of an image, such as the patient, in its path."""

from __future__ import annotations

import re

from hemai.utils.errors import UserError


def compile_pattern(pattern: str, key: str) -> re.Pattern[str]:
    """Compile a regular expression with a part in parentheses.

    Args:
        pattern: Regular expression of the user.
        key: Name of the setting or option, for the error.

    Raises:
        UserError: An invalid expression, or one without parentheses.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{key} '{pattern}' is not a valid regular expression: {error}") from error
    if compiled.groups == 0:
        raise UserError(f"{key} '{pattern}' has no part in parentheses; add one, such as 'P(\\d+)_'")
    return compiled


def find_group(pattern: re.Pattern[str], path: str) -> str | None:
    """Group of an image: the part of the pattern named `group`, or else the first in parentheses.

    Args:
        pattern: Expression of `compile_pattern`.
        path: Path below the folder of the images.

    Returns:
        None if the pattern, or this part of it, is not found.
    """
    match = pattern.search(path)
    return match and match["group" if "group" in pattern.groupindex else 1]
