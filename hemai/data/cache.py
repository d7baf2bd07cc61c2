"""Prepared images of a data set in one memory-mapped array."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from hemai.data.images import prepare_images, prepared_shape
from hemai.utils.errors import UserError
from hemai.utils.files import build_folder
from hemai.utils.terminal import track

VERSION = 3  # of the format of a cache; raise it with every change, so that no old cache is read as a new one


@dataclass(frozen=True)
class Cache:
    """Prepared images, with read errors and content keys of their files.

    Attributes:
        images: uint8 RGB, shape (N, height, width, 3), memory-mapped; row i belongs to row i of the
            data set's table. An unreadable image is black.
        errors: Why each file could not be read; empty if it could.
        content: Content key of each file, the same for files with identical bytes.
        no_nucleus: Whether `SegmentNucleus` found no nucleus in an image, bool (N,); False if it was not used.
        folder: Folder of the cache.
    """

    images: np.ndarray
    errors: np.ndarray
    content: np.ndarray
    no_nucleus: np.ndarray
    folder: Path


def cache_root() -> Path:
    """Folder of all caches: `$HEMAI_CACHE`, by default `~/.cache/hemai`."""
    return Path(os.environ.get("HEMAI_CACHE") or "~/.cache/hemai").expanduser().absolute()


def load_cache(name: str, root: Path, paths: Sequence[str], prepare: dict[str, Any]) -> Cache:
    """Open the cache of these files and this prepare list; build it if it does not exist.

    A changed file (size or modification time) or prepare list gives another cache. If several processes
    need the same cache (one for each device), the first builds it and the others wait.

    Args:
        name: Name of the data set.
        root: Folder of the images.
        paths: Image files relative to `root`.
        prepare: Deterministic transforms, as returned by `albumentations.to_dict`; they must bring all
            images to one size.

    Raises:
        UserError: Not enough disk space, or images of different sizes after `prepare`.
    """
    stats = [_size_and_time(root / path) for path in paths]
    described = json.dumps([[VERSION, str(root), prepare], [[p, *s] for p, s in zip(paths, stats, strict=True)]])
    key = hashlib.sha256(described.encode()).hexdigest()[:16]
    folder = cache_root() / f"{name}-{key}"
    if not folder.is_dir():
        with _one_at_a_time(folder):
            if not folder.is_dir():
                _build(folder, [root / path for path in paths], prepare)
    try:
        files = pd.read_csv(folder / "files.csv", dtype=str, keep_default_na=False)
        images = np.load(folder / "images.npy", mmap_mode="r")
        no_nucleus = (files["no_nucleus"] == "True").to_numpy()
        return Cache(images, files["error"].to_numpy(), files["content"].to_numpy(), no_nucleus, folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"the cache {folder} is damaged ({error}); delete it, then rerun to rebuild it") from error


def readable_rows(errors: np.ndarray, paths: Iterable[str], root: Path, skip_unreadable: bool) -> np.ndarray:
    """Rows of the images that could be read.

    Args:
        errors: See `Cache`.
        paths: Image files relative to `root`.
        root: Folder of the images.
        skip_unreadable: Skip unreadable images instead of raising an error.

    Raises:
        UserError: Some images are unreadable; lists each with its reason.
    """
    bad = errors != ""
    if bad.any() and not skip_unreadable:
        listed = "\n".join(f"  {path}: {error}" for path, error in zip(paths, errors, strict=True) if error)
        raise UserError(
            f"{bad.sum()} unreadable images under {root}:\n{listed}\n"
            "replace them, or skip them with data.skip_unreadable=true"
        )
    return np.flatnonzero(~bad)


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        stat = os.stat(file)
    except OSError:  # a broken link: reported when the file is read
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; a process that is killed releases it."""
    file = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(file)
    with suppress(OSError, NotImplementedError):  # a file system without locks: all build, the first is kept
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print("waiting for another process that is preparing the same images", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            file.unlink()  # a process that waits for it will find the folder built


def _build(folder: Path, files: list[Path], prepare: dict[str, Any]) -> None:
    shape = prepared_shape(files, prepare)
    size = len(files) * int(np.prod(shape))
    title = f"preparing {len(files):,} images ({size / 1e6:,.0f} MB)"
    errors, digests, no_nucleus = [], [], []
    with build_folder(folder, size, "set HEMAI_CACHE to another folder") as part:
        with open(part / "images.npy", "wb") as array:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
            np.lib.format.write_array_header_1_0(array, header)
            for image, error, lacks_nucleus in track(prepare_images(files, prepare, shape), title, total=len(files)):
                array.write(image.data)
                errors.append(error)
                no_nucleus.append(lacks_nucleus)
                digests.append(hashlib.sha256(image.data).hexdigest())
        content = _same_content(files, digests, errors)
        table = pd.DataFrame({"error": errors, "content": content, "no_nucleus": no_nucleus})
        table.to_csv(part / "files.csv", index=False)


def _same_content(files: list[Path], digests: list[str], errors: list[str]) -> list[str]:
    """Content key of each file, the same for files with identical bytes.

    Identical files have identical prepared images, so only files whose images agree are hashed:
    hashing all files would cost as much as decoding them.
    """
    groups: dict[str, list[int]] = {}
    for i, (digest, error) in enumerate(zip(digests, errors, strict=True)):
        if not error:
            groups.setdefault(digest, []).append(i)
    content = [f"unread-{i}" for i in range(len(files))]
    for digest, rows in groups.items():
        for i in rows:
            content[i] = digest if len(rows) == 1 else hashlib.sha256(files[i].read_bytes()).hexdigest()
    return content
