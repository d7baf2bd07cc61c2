"""Check the values of a composed configuration, before any image is read."""

from __future__ import annotations

import re
from typing import Any

from hemai.utils.errors import UserError, check_finite, check_fraction, check_number, check_whole, did_you_mean, shorten

KEYWORDS = {"threshold.rule": ("sensitivity", "youden", "half")}
PUBLISHED = {"published.accuracy", "published.source"}
# A number or a word, checked elsewhere.
UNION_KEYS = ("data.num_workers", "trainer.devices", "transform.prepare.segment.nucleus")
FOREIGN = re.compile(r"(trainer|logger|callbacks|transform|model\.options)\.")  # their constructors know the types
FRACTIONS = ("threshold.sensitivity", "published.accuracy")


def check_values(settings: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Compare settings with the defaults of the selected configs.

    Args:
        settings: Flat mapping `key.subkey` -> value, resolved.
        defaults: The same mapping without the user's values.

    Raises:
        UserError: A value of another type than the default, a number that is not finite, an unknown choice, an
            incomplete published result, or an unknown top-level key, which would have no effect. The constructors
            check the ranges of their own settings; those that no constructor takes are checked here.
    """
    for above in sorted({key[: dot.start()] for key in settings for dot in re.finditer(r"\.", key)}):
        if isinstance(single := defaults.get(above), (str, int, float)):
            raise UserError(f"{above}: found a mapping, expected a single value, such as {single}")
    check_finite("", settings)
    check_whole("seed", settings["seed"], 0)
    if settings["seed"] >= 2**32:  # numpy's limit
        raise UserError(f"seed={settings['seed']}: expected a whole number below {2**32:,}")
    published = {key for key in settings if key.startswith("published.")}
    if settings.get("published") is not None or published not in (set(), PUBLISHED):
        raise UserError(f"published: expected null, or both of {' and '.join(sorted(PUBLISHED))}")
    for key, words in KEYWORDS.items():
        if (value := settings.get(key)) not in words:
            raise UserError(f"{key}={value}{did_you_mean(str(value), words)} (expected {', '.join(words)})")
    for key in FRACTIONS:
        if key in settings:
            check_fraction(key, settings[key])
    if (confidence := settings.get("threshold.confidence")) is not None:
        check_number("threshold.confidence", confidence, 0.5, 0.99)
        if (rule := settings["threshold.rule"]) != "sensitivity":
            raise UserError(f"threshold.confidence={confidence} needs threshold.rule=sensitivity, found {rule}")
    for key, value in settings.items():
        top = key.split(".")[0]
        known = {name.split(".")[0] for name in defaults}
        if top == "threshold" and key not in defaults:
            raise UserError(
                f"unknown key '{key}' (expected {shorten(name for name in defaults if name.startswith(top))})"
            )
        if top not in known:
            raise UserError(
                f"unknown key '{top}'{did_you_mean(top, known)} (expected one of {', '.join(sorted(known))})"
            )
        if key not in UNION_KEYS:
            _check_type(key, value, defaults.get(key))


def _check_type(key: str, value: Any, default: Any) -> None:
    numbers = (int, float)
    if value is None and (key in ("monitor", "model.weights") or FOREIGN.match(key)):
        return
    if isinstance(default, bool):
        kind, right = "true or false", isinstance(value, bool)
    elif isinstance(default, int):
        kind, right = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, float):
        kind, right = "a number", isinstance(value, numbers) and not isinstance(value, bool)
    elif isinstance(default, str) and "${" not in default and not FOREIGN.match(key):
        kind, right = "a name", isinstance(value, str)
    else:
        return
    if not right:
        raise UserError(f"{key}={value}: expected {kind}, such as {str(default).lower()}")


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to `key.subkey` -> value; lists stay whole."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in tree.items())
    return {name: value for part in parts for name, value in part.items()}
