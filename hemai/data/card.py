"""The card of a data set: what a reader of a study must know of the patients and of how the images were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from hemai.utils.errors import UserError, did_you_mean, shorten

CARD = "card.yaml"
FIELDS = {
    "dates": "first and last day on which samples were taken",
    "centres": "hospitals and laboratories",
    "scanner": "microscope, objective, camera or slide scanner",
    "stain": "stain, and whether colours were normalised",
    "eligibility": "which patients and which cells were included and excluded",
    "reference_standard": "who or what decided the class of an image",
    "age": "age of the patients",
    "sex": "sex of the patients",
    "subtype": "subtypes and stages of the disease",
}


def read_card(root: Path) -> dict[str, str]:
    """Read `card.yaml` in the folder of a data set.

    Returns:
        Field of `FIELDS` -> text, without empty ones; a list is joined by commas. Empty without the file.

    Raises:
        UserError: The file cannot be read, has another form, or an unknown field.
    """
    if not (file := root / CARD).is_file():
        return {}
    try:  # BaseLoader: "no" and a date stay as they are written
        content = yaml.load(file.read_text("utf-8"), yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {file} ({' '.join(str(error).split())}); expected lines 'field: text'") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: found {type(content).__name__}, expected lines 'field: text', such as 'age: 2 to 17'")
    if unknown := [str(field) for field in content if field not in FIELDS]:
        raise UserError(
            f"{file}: unknown field {shorten(unknown)}{did_you_mean(unknown[0], FIELDS)} (expected {', '.join(FIELDS)})"
        )
    card = {field: ", ".join(value) if _is_list(value) else value for field, value in content.items()}
    if wrong := [field for field, value in card.items() if not isinstance(value, str)]:
        raise UserError(f"{file}: {shorten(wrong)}: expected a text or a list of texts")
    return {field: " ".join(value.split()) for field, value in card.items() if value.strip()}


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def missing_fields(card: Mapping[str, str]) -> list[str]:
    """Fields that a card does not record."""
    return [field for field in FIELDS if field not in card]
