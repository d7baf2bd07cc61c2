"""Provenance of a run: what was left out of the data, and the code, weights and hardware of the training."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hemai.data.datamodule import CellDataModule
from hemai.models.source import is_source, weights_file
from hemai.runs.hardware import describe_hardware
from hemai.settings.run_folder import MAX_BYTES, RunFolder

PACKAGE = Path(__file__).parents[1]
KINDS: dict[str, Any] = {  # of the entries of provenance.json; others are ignored
    "left_out": dict,
    "merged_groups": int,
    "card": dict,
    "code": str | None,
    "weights": str | None,
    "hardware": dict,
}
DIGITS = 16  # of a SHA-256, enough to tell files apart


def collect_provenance(config: DictConfig, data: CellDataModule, uses_gpu: bool) -> dict[str, Any]:
    """Provenance of a run that starts, as plain values.

    Returns:
        `left_out`: what was left out of the data -> number of images; `merged_groups`: number of groups that were
        merged with others because they share identical files; `card`: that of the data set; `code`: see `git_commit`;
        `weights`: SHA-256 prefix of the file of initial weights, or None; `hardware`: see `describe_hardware`.
    """
    settings = config.model
    weights = settings.weights or (settings.backbone if settings.pretrained and is_source(settings.backbone) else None)
    return {
        "left_out": data.dataset.left_out,
        "merged_groups": data.n_merged_groups,
        "card": data.dataset.card,
        "code": git_commit(),
        "weights": file_checksum(weights_file(weights)) if weights else None,
        "hardware": describe_hardware(uses_gpu),
    }


def read_provenance(run: RunFolder | None) -> dict[str, Any]:
    """Content of `provenance.json`; empty for a run of an earlier version and for a bare checkpoint (None)."""
    file = None if run is None else run.provenance
    if file is None or not file.is_file() or file.stat().st_size > MAX_BYTES:
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = content if isinstance(content, dict) else {}
    return {name: known[name] for name, kind in KINDS.items() if isinstance(known.get(name, ...), kind)}


def recorded_card(run: RunFolder | None) -> dict[str, str]:
    """Card of the data set when the run started; empty for a run of an earlier version."""
    card = read_provenance(run).get("card")
    return {field: str(value) for field, value in card.items()} if isinstance(card, dict) else {}


def git_commit(package: Path = PACKAGE) -> str | None:
    """Commit of the clone that a package is run from, with `, with uncommitted changes` where there are some.

    None for an installed package, also one that is installed inside another repository, and without git.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    if (commit := _git(package, "rev-parse", "HEAD")) is None:
        return None
    return commit + ", with uncommitted changes" * bool(_git(package, "status", "--porcelain", "--untracked-files=no"))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def file_checksum(file: Path) -> str:
    """First digits of the SHA-256 of a file, as `sha256sum` prints it."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:DIGITS]
