"""Fetch exported runs from the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub import errors

from hemai.runs.exported_folder import CARD, CONFIG, WEIGHTS, is_exported
from hemai.utils.errors import UserError, one_line

HUB = "hf-hub:"  # the prefix that timm uses
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
PROBLEMS: tuple[tuple[type[Exception], str], ...] = (
    (errors.GatedRepoError, "asks for its terms to be accepted; do so on its page, then set HF_TOKEN"),
    (errors.RevisionNotFoundError, "has no such revision; leave @REVISION out for the newest"),
    (errors.RepositoryNotFoundError, "does not exist, or is private; check the name, or set HF_TOKEN"),
    (errors.LocalEntryNotFoundError, "cannot be fetched: no network, and it is not in the cache of huggingface_hub"),
)


def is_on_hub(run: Path) -> bool:
    """Whether a run is named as one of the hub."""
    return run.as_posix().startswith(HUB)


def check_repository(name: str, expected: str) -> None:
    """Refuse what cannot be the name of a repository on the hub.

    Raises:
        UserError: The message says what is expected.
    """
    if not REPOSITORY.fullmatch(name):
        raise UserError(f"{name!r} is not the name of a model on the hub; expected {expected}")


def fetch_run(run: Path) -> Path:
    """Fetch an exported run, `hf-hub:OWNER/NAME` or `hf-hub:OWNER/NAME@REVISION`; without a network, from the cache.

    Only its config, weights and card are fetched.

    Returns:
        Folder in the cache of huggingface_hub.

    Raises:
        UserError: No such model, no access, no network, or not a model of hemai.
    """
    name, _, revision = run.as_posix().removeprefix(HUB).partition("@")
    check_repository(name, f"{HUB}OWNER/NAME")
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS, CARD]
        )
    except Exception as error:  # of many kinds: also those of the client that it uses
        told = next((words for kind, words in PROBLEMS if isinstance(error, kind)), None)
        raise UserError(f"{run.as_posix()} {told or f'cannot be fetched ({one_line(error)})'}") from error
    if not is_exported(Path(folder)):
        raise UserError(
            f"{run.as_posix()} is not a hemai model: it lacks {CONFIG} or {WEIGHTS}; expected what hemai push uploads"
        )
    return Path(folder)
