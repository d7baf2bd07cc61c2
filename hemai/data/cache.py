"""Prepared images of a data set in one memory-mapped array."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from hemai.data.image_files import MAX_MEGAPIXELS
from hemai.data.images import Prepared, prepare_images, prepared_shape
from hemai.utils.checksums import check_files
from hemai.utils.errors import UserError
from hemai.utils.files import build_folder, write_text
from hemai.utils.terminal import track

VERSION = 3  # of the format of a cache; raise it with every change, so that no old cache is read as a new one
FILES = ("images.npy", "files.csv")


class DamagedCacheError(UserError):
    """A cache whose files are missing, shortened or changed."""


@dataclass(frozen=True)
class Cache:
    """Prepared images, with read errors and content keys of their files.

    Attributes:
        images: uint8 RGB, shape (N, height, width, 3), memory-mapped; row i belongs to row i of the
            data set's table. An unreadable image is black.
        errors: Why each file could not be read; empty if it could.
        content: Content key of each file, the same for files with identical bytes.
        crc32: CRC-32 of each file, uint32 (N,); 0 if it could not be read.
        conversion: How each image was converted to opaque RGB of 8 bits; see `hemai.data.image_files.Decoded`.
        no_nucleus: Whether `SegmentNucleus` found no nucleus in an image, bool (N,); False if it was not used.
        folder: Folder of the cache.
    """

    images: np.ndarray
    errors: np.ndarray
    content: np.ndarray
    crc32: np.ndarray
    conversion: np.ndarray
    no_nucleus: np.ndarray
    folder: Path


def cache_root() -> Path:
    """Folder of all caches: `$HEMAI_CACHE`, by default `~/.cache/hemai`."""
    return Path(os.path.expanduser(os.environ.get("HEMAI_CACHE") or "~/.cache/hemai")).absolute()


def load_cache(
    name: str, root: Path, paths: Sequence[str], prepare: dict[str, Any], max_megapixels: float = MAX_MEGAPIXELS
) -> Cache:
    """Open the cache of these files and this prepare list; build it if it does not exist or is damaged.

    A changed file (size or modification time), prepare list or limit gives another cache. If several processes
    need the same cache (one for each device), the first builds it and the others wait.

    Args:
        name: Name of the data set.
        root: Folder of the images.
        paths: Image files relative to `root`.
        prepare: Deterministic transforms, as returned by `albumentations.to_dict`; they must bring all
            images to one size.
        max_megapixels: Larger images are errors, in millions of pixels.

    Raises:
        UserError: Not enough disk space, images of different sizes after `prepare`, or a damaged cache that cannot be
            removed.
    """
    files = [root / path for path in paths]
    stats = [_size_and_time(file) for file in files]
    rows = [[path, *size_and_time] for path, size_and_time in zip(paths, stats, strict=True)]
    described = json.dumps([[VERSION, str(root), prepare, float(max_megapixels)], rows])
    key = hashlib.sha256(described.encode()).hexdigest()[:16]
    folder = cache_root() / f"{name}-{key}"
    with suppress(DamagedCacheError):
        if folder.is_dir():
            return _open(folder, files)
    with _one_at_a_time(folder):
        if folder.is_dir():
            try:
                return _open(folder, files)  # another process built it meanwhile
            except DamagedCacheError as damage:
                _remove(folder, damage)
        _build(folder, files, prepare, max_megapixels)
    return _open(folder, files)


def _open(folder: Path, files: Sequence[Path]) -> Cache:
    try:
        table = pd.read_csv(folder / "files.csv", dtype=str, keep_default_na=False)
        check_files(folder, FILES)
        images = np.load(folder / "images.npy", mmap_mode="r")
        if not len(images) == len(table) == len(files):
            raise ValueError(f"{len(images):,} images and {len(table):,} rows, expected {len(files):,}")
        return Cache(
            images,
            errors=table["error"].to_numpy(),
            content=table["content"].to_numpy(),
            crc32=table["crc32"].to_numpy(np.uint32),
            conversion=table["conversion"].to_numpy(),
            no_nucleus=(table["no_nucleus"] == "True").to_numpy(),
            folder=folder,
        )
    except (FileNotFoundError, EOFError, KeyError, ValueError, OverflowError) as error:
        raise DamagedCacheError(f"the cache {folder} is damaged ({error})") from error
    except OSError as error:
        if error.errno == errno.ENOMEM:  # of this moment, not of the cache
            raise
        raise UserError(
            f"cannot read the cache {folder} ({error}); make it readable, or set HEMAI_CACHE to another folder"
        ) from error


def _remove(folder: Path, damage: DamagedCacheError) -> None:
    print(f"{damage}; preparing the images again", file=sys.stderr, flush=True)
    try:  # moved first, so that no other process opens half a cache
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as trash:
            folder.rename(Path(trash, folder.name))
    except FileNotFoundError:  # another process has removed it
        return
    except OSError as error:
        raise UserError(f"{damage} and cannot be removed ({error}); set HEMAI_CACHE to another folder") from error


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
        hint = ", or raise data.max_megapixels" * any("megapixels" in error for error in errors)
        listed = "\n".join(f"  {path}: {error}" for path, error in zip(paths, errors, strict=True) if error)
        raise UserError(
            f"{bad.sum()} unreadable images under {root}:\n{listed}\n"
            f"replace them, or skip them with data.skip_unreadable=true{hint}"
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


def _build(folder: Path, files: list[Path], prepare: dict[str, Any], max_megapixels: float) -> None:
    shape = prepared_shape(files, prepare, max_megapixels)
    size = len(files) * int(np.prod(shape))
    title = f"preparing {len(files):,} images ({size / 1e6:,.0f} MB)"
    rows, digests = [], []
    with build_folder(folder, size, "set HEMAI_CACHE to another folder") as part:
        with open(part / "images.npy", "wb") as array:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
            np.lib.format.write_array_header_1_0(array, header)
            prepared = track(prepare_images(files, prepare, shape, max_megapixels), title, total=len(files))
            for image, *facts in prepared:
                array.write(image.data)
                rows.append(facts)
                digests.append(hashlib.sha256(image.data).hexdigest())
            array.flush()
            os.fsync(array.fileno())  # after a power failure, blocks of zeros would pass for checked ones
        table = pd.DataFrame(rows, columns=Prepared._fields[1:])
        table["content"] = _same_content(files, digests, table["error"].tolist())
        write_text(part / "files.csv", table.to_csv(index=False))
        check_files(part, FILES)


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
