"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from hemai.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write beside the place, then move there in one step: who is killed leaves the old file or none."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def check_writable(out: Path) -> None:
    """Find out before the work, not after it.

    Raises:
        UserError: Nothing can be written at `out`.
    """
    there = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"--out: cannot write {out} ({there} is no folder to write to); choose another place")
