"""Checksums of the files in a folder, which find damage before it is used."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hemai.utils.files import write_text

CHECKSUMS = "checksums.json"
BLOCK = 4 << 20  # bytes: large enough to read fast, small enough for memory


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Compare files with the checksums beside them, in `checksums.json`, which is written if it is missing.

    Files are read only if their size, times or inodes changed since the last comparison; in a folder that cannot be
    written this is not remembered, so they are read each time.

    Args:
        folder: Folder of the files.
        names: Names of the files.

    Raises:
        ValueError: A file, or the file of the checksums, is damaged.
        OSError: A file cannot be read.
    """
    states = {name: _state(folder / name) for name in names}
    recorded = _recorded(folder / CHECKSUMS, names)
    if recorded.get("checked") == states or not (recorded or os.access(folder, os.W_OK)):
        return
    blocks = {name: block_checksums(folder / name) for name in names}
    for name in names if recorded else ():
        pairs = list(zip_longest(blocks[name], recorded["blocks"][name]))
        if changed := sum(now != before for now, before in pairs):
            raise ValueError(f"{changed} of {len(pairs)} blocks of {name} changed since they were written")
    with suppress(OSError):
        write_text(folder / CHECKSUMS, json.dumps({"checked": states, "blocks": blocks}))


def _recorded(file: Path, names: Sequence[str]) -> dict[str, Any]:
    """Content of the file of checksums; empty without one."""
    if not file.is_file():
        return {}
    try:
        recorded = json.loads(file.read_text("utf-8"))
    except RecursionError as error:
        raise ValueError(f"{file.name} is nested too deeply") from error
    blocks = recorded.get("blocks") if isinstance(recorded, dict) else None
    if not isinstance(blocks, dict) or not all(isinstance(blocks.get(name), list) for name in names):
        raise ValueError(f"{file.name} holds no checksums")
    return recorded


def _state(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def block_checksums(file: Path) -> list[int]:
    """CRC-32 of each block of a file, in threads; memory does not grow with the size of the file."""

    def checksum(start: int) -> int:
        with open(file, "rb") as content:
            content.seek(start)
            return zlib.crc32(content.read(BLOCK))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(checksum, range(0, file.stat().st_size, BLOCK)))
