"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write beside the place, then move there in one step: who is killed leaves the old file or none."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    os.replace(part, path)
