"""Find, read and prepare image files."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np

from hemai.data.image_files import MAX_MEGAPIXELS, decode_file
from hemai.utils.encoding import check_utf8
from hemai.utils.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})

CHUNK = 32  # images per task: large enough to hide the cost of a task, small enough for a smooth progress bar


class Prepared(NamedTuple):
    """A prepared image.

    Attributes:
        image: uint8 RGB; black if the file could not be read.
        error: Why the file could not be read; empty if it could.
        no_nucleus: Whether `SegmentNucleus` found no nucleus.
        conversion: See `hemai.data.image_files.Decoded`.
        crc32: CRC-32 of the file; 0 if it could not be read, or was not asked for.
    """

    image: np.ndarray
    error: str = ""
    no_nucleus: bool = False
    conversion: str = ""
    crc32: int = 0


def read_image(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Decode an image file to uint8 RGB, shape (height, width, 3), 0..255; see `decode_file`."""
    return decode_file(path, max_megapixels).image


def images_below(folder: Path) -> tuple[list[Path], int]:
    """All image files below a folder, sorted, without hidden files and folders; and the number of other files.

    Links to folders are followed once.
    """
    files, seen = [], {os.path.realpath(folder)}
    for directory, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        # A link to a parent folder would be followed forever.
        real = {name: os.path.realpath(os.path.join(directory, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in seen]
        seen.update(real.values())
        files += [Path(directory, name) for name in sorted(names) if not name.startswith(".")]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return images, len(files) - len(images)


def find_images(paths: Sequence[str]) -> dict[Path, Path]:
    """Find the images that a user names on a command line.

    Args:
        paths: Files, folders (searched to any depth) and patterns such as `smears/**/*.jpg`.

    Returns:
        Absolute path of each file, with the shorter path that identifies it: relative to its folder, or to the
        common folder of a pattern's files. If two were the same: relative to the common folder of all files.

    Raises:
        UserError: No path is given, or one does not exist, contains no image, or is not UTF-8.
    """
    found: dict[Path, Path] = {}
    if not paths or "" in paths:
        raise UserError("no image given; expected files, folders or patterns")
    for path in paths:
        files, top = _images_at(path)
        if not files:
            raise UserError(
                f"no image at {path}; expected a file, a folder or a pattern ({', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        found |= {Path(os.path.abspath(file)): file.relative_to(top) for file in files}
    check_utf8(found)
    if len(set(found.values())) < len(found):
        top = Path(os.path.commonpath([file.parent for file in found]))
        found = {file: file.relative_to(top) for file in found}
    return found


def _images_at(name: str) -> tuple[list[Path], Path]:
    """The images of one file, folder or pattern, and the folder that their short paths start from."""
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        return images_below(path)[0], path
    if path.exists():
        return [path], path.parent
    # Brackets in the name of an existing folder are not a pattern.
    existing = next(parent for parent in path.parents if parent.is_dir())
    pattern = Path(glob.escape(str(existing))) / path.relative_to(existing)
    matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    files = [match for match in matches if match.suffix.lower() in IMAGE_SUFFIXES and match.is_file()]
    return files, Path(os.path.commonpath([match.parent for match in files])) if files else path


def prepared_shape(
    files: Sequence[str | Path], prepare: dict[str, Any], max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[int, int, int]:
    """(height, width, 3) after `prepare`, from the first image that can be read.

    Raises:
        UserError: `prepare` fails on it, is random, or its result is not uint8 RGB.
    """
    compose = A.from_dict(prepare)
    for file in files:
        try:
            original = read_image(file, max_megapixels)
        except (ValueError, OSError):
            continue
        try:
            image, *others = [_prepared_with_seed(compose, original, seed) for seed in range(8)]
        except Exception as error:
            raise UserError(f"{file}: transform.prepare fails: {error}") from error
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"transform.prepare makes {image.dtype} images of shape {image.shape}, expected uint8 RGB; "
                "set the normalization with model.mean and model.sd instead"
            )
        if not all(np.array_equal(image, other) for other in others):
            raise UserError("transform.prepare is random: it makes different images of one file; move it to augment")
        return image.shape
    return compose(image=np.zeros((64, 64, 3), np.uint8))["image"].shape


def _prepared_with_seed(compose: A.Compose, image: np.ndarray, seed: int) -> np.ndarray:
    compose.set_random_seed(seed)
    prepared: np.ndarray = compose(image=image)["image"]
    return prepared


def _explain(reason: ValueError | OSError) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return " ".join(text.split())


def prepare_images(
    files: Sequence[str | Path],
    prepare: dict[str, Any],
    shape: tuple[int, int, int],
    max_megapixels: float = MAX_MEGAPIXELS,
    checksum: bool = True,
) -> Iterator[Prepared]:
    """Decode and prepare in threads (decoding, hashing and OpenCV release the interpreter's lock).

    Args:
        files: Image files.
        prepare: Deterministic transforms, as returned by `albumentations.to_dict`.
        shape: Shape of all images after `prepare`; see `prepared_shape`.
        max_megapixels: Larger images are errors; see `decode_file`.
        checksum: Whether to compute `Prepared.crc32`.

    Yields:
        Each file in turn; only a few hundred images are in memory at a time.

    Raises:
        UserError: `prepare` fails, or its result has another shape.
    """

    def work(chunk: Sequence[str | Path]) -> list[Prepared]:
        compose = A.from_dict(prepare)  # one for each task: threads must not share a Compose
        results: list[Prepared] = []
        for file in chunk:
            try:
                decoded = decode_file(file, max_megapixels, checksum)
            except (ValueError, OSError) as reason:
                results.append(Prepared(np.zeros(shape, np.uint8), _explain(reason)))
                continue
            try:
                image = compose(image=decoded.image)["image"]
            except Exception as reason:
                raise UserError(f"{file}: transform.prepare fails: {reason}") from reason
            no_nucleus = not all(t.get_applied_params().get("found", True) for t in compose.transforms)
            if image.shape != shape:
                raise UserError(
                    f"{file}: {image.shape[1]} x {image.shape[0]} px after the prepare list, other images "
                    f"{shape[1]} x {shape[0]}; end transform.prepare with a Resize"
                )
            image = np.ascontiguousarray(image)
            results.append(Prepared(image, "", no_nucleus, decoded.conversion, decoded.crc32))
        return results

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image per thread is faster than many threads per image
    try:
        with ThreadPoolExecutor(workers := os.cpu_count() or 1) as pool:
            pending: deque[Future[list[Prepared]]] = deque()
            for start in range(0, len(files), CHUNK):
                pending.append(pool.submit(work, files[start : start + CHUNK]))
                if len(pending) > 2 * workers:  # memory must not grow with the number of images
                    yield from pending.popleft().result()
            for future in pending:
                yield from future.result()
    finally:
        cv2.setNumThreads(threads)
