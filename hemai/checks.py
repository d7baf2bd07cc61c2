"""Values that compose and yet make no sense: found before any image is read."""

from __future__ import annotations

from typing import Any

from hemai.errors import UserError, nearest

SMALLEST = {
    "seed": 0,
    "save_every_n_steps": 1,
    "patience": 1,
    "data.seed": 0,
    "data.batch_size": 1,
    "data.fold": 0,
    "data.folds": 2,
    "data.num_workers": 0,
    "model.image_size": 1,
    "model.label_smoothing": 0,
    "model.freeze_epochs": 0,
    "model.average_weights": 0,
    "model.options.drop_rate": 0,
    "trainer.max_epochs": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "published.accuracy": 0,
    "data.val_share": 0,
    "data.test_share": 0,
    "threshold.sensitivity": 0,
}
LARGEST = {
    "model.label_smoothing": 1,
    "model.average_weights": 1,
    "model.options.drop_rate": 1,
    "published.accuracy": 1,
    "threshold.sensitivity": 1,
}
CHOICES = {"threshold.rule": ("sensitivity", "youden", "half")}
WORDS = {"data.num_workers": ("auto",)}
PUBLISHED = {"published.accuracy", "published.source"}
SEVERAL_TYPES = ("trainer.devices", "transform.prepare.segment.nucleus")  # a number or a word: their owners know best


def check_values(settings: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Compare settings with the defaults of the same choices.

    Args:
        settings: Flat, `key.below` -> value, resolved.
        defaults: The same without the user's values.

    Raises:
        UserError: A text where a number or a switch stands by default, a number out of range, an unknown
            choice, half a published figure, or a new key at the top, which nobody would read.
    """
    published = {key for key in settings if key.startswith("published.")}
    if settings.get("published") is not None or published not in (set(), PUBLISHED):
        raise UserError(f"published: expected null, or both of {' and '.join(sorted(PUBLISHED))}")
    for key, words in CHOICES.items():
        if (value := settings.get(key)) not in words:
            raise UserError(f"{key}={value}{nearest(str(value), words)} (expected {', '.join(words)})")
    if settings["threshold.sensitivity"] is None:
        raise UserError("threshold.sensitivity=null: expected 0 to 1")
    for key, value in settings.items():
        top = key.split(".")[0]
        known = {name.split(".")[0] for name in defaults}
        if top not in known:
            raise UserError(f"unknown key '{top}'{nearest(top, known)} (expected one of {', '.join(sorted(known))})")
        if key in SMALLEST and value is not None and value not in WORDS.get(key, ()):
            _check_range(key, value)
        if key not in SEVERAL_TYPES:
            _check_type(key, value, defaults.get(key))


def _check_type(key: str, value: Any, default: Any) -> None:
    numbers = (int, float)
    if isinstance(default, bool):
        kind, right = "true or false", isinstance(value, bool)
    elif isinstance(default, int):
        kind, right = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, float):
        kind, right = "a number", isinstance(value, numbers) and not isinstance(value, bool)
    else:
        return
    if not right and value is not None:
        raise UserError(f"{key}={value}: expected {kind}, such as {str(default).lower()}")


def _check_range(key: str, value: Any) -> None:
    smallest, largest = SMALLEST[key], LARGEST.get(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < smallest or (largest is not None and value > largest):
        words = "".join(f" or {word}" for word in WORDS.get(key, ()))
        upper = "or more" if largest is None else f"to {largest}"
        raise UserError(f"{key}={value}: expected {smallest} {upper}{words}")


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as `key.below` -> value; lists stay whole."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    parts = (flat(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in tree.items())
    return {name: value for part in parts for name, value in part.items()}
