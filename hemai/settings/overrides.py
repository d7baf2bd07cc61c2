"""Overrides of a command line, as the user typed them and in Hydra's grammar."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from hemai.settings.timm_names import SOURCE_KEYS, SOURCES
from hemai.utils.errors import UserError, one_line

PATH_KEYS = ("data.root", "data.csv", "model.weights", "run_dir", "resume", "threshold.validation")
VERBATIM_KEYS = (*PATH_KEYS, "data.pattern")
SEARCH_PATH = "hydra.searchpath"  # Hydra's key for additional config folders
CONFIG_FOLDER_FLAGS = ("--config-dir", "-cd")
FILE = "file://"


def quote(override: str) -> str:
    """Quote paths and patterns as Hydra needs it; other overrides stay unchanged.

    Hydra's grammar fails on brackets, commas, quotes, equals signs, accents and spaces, so the value
    is quoted. Paths become absolute, so that a run can be repeated from any directory.

    Raises:
        UserError: A path key without a value.
    """
    key, equals, value = override.partition("=")
    if equals and key == SEARCH_PATH:
        return search_path(_folders(value))
    is_split_file = key == "data.split" and value.lower().endswith(".csv")
    source = next((kind for kind in SOURCES if key in SOURCE_KEYS and value.startswith(kind)), "")
    if not equals or not (key in VERBATIM_KEYS or is_split_file or source) or value in ("null", "???"):
        return override
    if not value:
        raise UserError(f"{key}= has no value; give a path, or leave {key} out")
    if len(value) > 1 and value[0] == value[-1] == "'":  # already quoted by hemai in the parent process
        return override
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if source == "local-dir:":
        value = source + os.path.abspath(os.path.expanduser(value.removeprefix(source)))
    elif not source and (key in PATH_KEYS or is_split_file):
        value = os.path.abspath(os.path.expanduser(value))
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'")
    return f"'{literal(value)}'"


def literal(tree: Any) -> Any:
    """Escape `${` in a string, or in all strings of a tree, so that OmegaConf does not interpolate it."""
    if isinstance(tree, Mapping):
        return {key: literal(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [literal(value) for value in tree]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", tree) if isinstance(tree, str) else tree


def unquote(override: str) -> str:
    """Override as the user typed it; undoes `quote`."""
    typed = re.sub(r"\\(['$])", r"\1", re.sub(r"^([\w.]+)='(.*)'$", r"\1=\2", override))
    return typed if not override.startswith(SEARCH_PATH) and quote(typed) == override else override


def search_path(folders: Iterable[str | Path]) -> str:
    """Override that adds config folders to Hydra's search path.

    Args:
        folders: Paths as typed in the shell; the folders contain `data/`, `model/` and other groups.
    """
    paths = dict.fromkeys(os.path.abspath(os.path.expanduser(folder)) for folder in folders)
    return f"{SEARCH_PATH}=[{','.join(_quoted(FILE + path) for path in paths)}]"


def config_folders(overrides: Iterable[str]) -> list[Path]:
    """The user's config folders, taken from the search path among the overrides."""
    found = [_folders(override.partition("=")[2]) for override in overrides if override.startswith(f"{SEARCH_PATH}=")]
    return [Path(folder) for folder in (found[0] if found else [])]


def _folders(value: str) -> list[str]:
    """Folders in the value of a search path: a single one as typed in the shell, or a list in Hydra's grammar."""
    single = value.removeprefix("[").removesuffix("]").removeprefix(FILE)
    if os.path.isdir(os.path.expanduser(single)):
        return [single]
    parsed = parse([f"{SEARCH_PATH}={value}"])[0].value()
    folders = [str(folder) for folder in (parsed if isinstance(parsed, list) else [parsed])]
    if other := [folder for folder in folders if "://" in folder and not folder.startswith(FILE)]:
        raise UserError(f"{SEARCH_PATH}: {other[0]} is not a folder; expected [file://DIR]")
    return [folder.removeprefix(FILE) for folder in folders]


def take_config_folders(arguments: Sequence[str]) -> list[str]:
    """Replace `--config-dir DIR` among arguments by the equivalent search path, in front of the others.

    Raises:
        UserError: A flag without a folder.
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
    """Parse overrides with Hydra's grammar.

    Raises:
        UserError: An override that Hydra cannot parse.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise unreadable(error) from error


def unreadable(error: OverrideParseException) -> UserError:
    """The error of an override that Hydra cannot parse, such as a list of names with accents."""
    reason = str(error.message).partition("See https")[0].removeprefix("LexerNoViableAltException: ")
    return UserError(
        f"cannot read '{error.override}': {one_line(reason)}; expected key=value, and quotes around names with other "
        "signs than letters from a to z, digits, _ and -: \"data.positive=['ALL (B)']\""
    )


def sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate flags and their values (`--cfg job`) from overrides, and quote the overrides."""
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
    """Overrides of single runs that together cover every value of a sweep at least once."""
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
