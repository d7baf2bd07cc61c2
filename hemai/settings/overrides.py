"""The words of a command line: overrides as the user typed them, and as Hydra reads them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from hemai.utils.errors import UserError

PATH_KEYS = ("data.root", "data.csv", "model.weights", "run_dir", "resume")
VERBATIM_KEYS = (*PATH_KEYS, "data.pattern")
SEARCH_PATH = "hydra.searchpath"  # Hydra's name for further config folders
CONFIG_FOLDER_FLAGS = ("--config-dir", "-cd")
FILE = "file://"


def quote(override: str) -> str:
    """Take paths and patterns as the shell gives them; other overrides stay as they are.

    Hydra's grammar fails on brackets, commas, quotes, equals signs, accents and spaces, so the value
    is quoted, and a path is made absolute: a run can then be repeated from any directory.

    Raises:
        UserError: A path key without a value.
    """
    key, equals, value = override.partition("=")
    if equals and key == SEARCH_PATH:
        return search_path(_folders(value))
    is_split_file = key == "data.split" and value.lower().endswith(".csv")
    if not equals or not (key in VERBATIM_KEYS or is_split_file) or value in ("null", "???"):
        return override
    if not value:
        raise UserError(f"{key}= has no value; give a path, or leave {key} out")
    if len(value) > 1 and value[0] == value[-1] == "'":  # quoted already, by us in the parent process
        return override
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if key in PATH_KEYS or is_split_file:
        value = os.path.abspath(os.path.expanduser(value))
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'")
    return f"'{literal(value)}'"


def literal(tree: Any) -> Any:
    """A text that OmegaConf takes as it is, so that `${` in it is no interpolation; also all texts of a tree."""
    if isinstance(tree, Mapping):
        return {key: literal(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [literal(value) for value in tree]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", tree) if isinstance(tree, str) else tree


def unquote(override: str) -> str:
    """An override as the user typed it, before `quote`."""
    typed = re.sub(r"\\(['$])", r"\1", re.sub(r"^([\w.]+)='(.*)'$", r"\1=\2", override))
    return typed if not override.startswith(SEARCH_PATH) and quote(typed) == override else override


def search_path(folders: Iterable[str | Path]) -> str:
    """The override that lets Hydra look for configs in further folders too.

    Args:
        folders: As the shell gives them, with `data/`, `model/` and other groups in them.
    """
    paths = dict.fromkeys(os.path.abspath(os.path.expanduser(folder)) for folder in folders)
    return f"{SEARCH_PATH}=[{','.join(_quoted(FILE + path) for path in paths)}]"


def config_folders(overrides: Iterable[str]) -> list[Path]:
    """The user's config folders, of the search path among overrides."""
    found = [_folders(override.partition("=")[2]) for override in overrides if override.startswith(f"{SEARCH_PATH}=")]
    return [Path(folder) for folder in (found[0] if found else [])]


def _folders(value: str) -> list[str]:
    """Folders of the value of a search path: as the shell gives a single one, else as Hydra's grammar has it."""
    single = value.removeprefix("[").removesuffix("]").removeprefix(FILE)
    if os.path.isdir(os.path.expanduser(single)):
        return [single]
    parsed = parse([f"{SEARCH_PATH}={value}"])[0].value()
    folders = [str(folder) for folder in (parsed if isinstance(parsed, list) else [parsed])]
    if other := [folder for folder in folders if "://" in folder and not folder.startswith(FILE)]:
        raise UserError(f"{SEARCH_PATH}: {other[0]} is no folder; expected [file://DIR]")
    return [folder.removeprefix(FILE) for folder in folders]


def take_config_folders(arguments: Sequence[str]) -> list[str]:
    """Arguments with `--config-dir DIR` written as the search path that it means, in front.

    Raises:
        UserError: A flag without its folder.
    """
    folders: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in CONFIG_FOLDER_FLAGS:
            folder = value if equals else next(words, "")
            if not folder:
                raise UserError(f"{flag} has no value; give the folder of your configs")
            folders.append(folder)
        elif flag == SEARCH_PATH and equals:
            folders += _folders(value)
        else:
            others.append(word)
    return [search_path(folders), *others] if folders else others


def parse(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra's grammar reads them.

    Raises:
        UserError: One that it cannot read.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UserError(f"cannot read '{error.override}': {error.message}; expected key=value") from error


def sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values (`--cfg job`), and overrides, quoted."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if re.search("=|^~", argument) and not argument.startswith("-"):
            overrides.append(quote(argument))
        elif argument.startswith("-") or before.startswith("-"):
            flags.append(argument)
        else:
            raise UserError(f"cannot read '{argument}'; expected key=value")
    return flags, overrides


def trials(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """The overrides of single runs that show every value of a sweep at least once."""
    if not multirun:
        return [list(overrides)]
    values = [_values(override) for override in parse(overrides)]
    first = [choices[0] for choices in values]
    others = [[*first[:i], choice, *first[i + 1 :]] for i, choices in enumerate(values) for choice in choices[1:]]
    return [first, *others]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
