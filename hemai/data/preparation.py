"""Images read from their files and brought to what a network takes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np

from hemai.data.images import read_image
from hemai.errors import UserError

CHUNK = 32  # images a task: large enough to hide the cost of a task, small enough for a smooth bar
Prepared = tuple[np.ndarray, str, bool]  # image, error (empty if it could be read), no nucleus


def prepared_shape(files: Sequence[Path], prepare: dict[str, Any]) -> tuple[int, int, int]:
    """(height, width, 3) after `prepare`, from the first image that can be read.

    Raises:
        UserError: `prepare` fails on it, or makes no uint8 RGB of it.
    """
    compose = A.from_dict(prepare)
    for file in files:
        try:
            image = read_image(file)
        except (ValueError, OSError):
            continue
        try:
            image = compose(image=image)["image"]
        except Exception as error:
            raise UserError(f"{file}: transform.prepare fails: {error}") from error
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"transform.prepare makes {image.dtype} images of shape {image.shape}, expected uint8 RGB; "
                "mean and sd are settings of the model"
            )
        return image.shape
    return compose(image=np.zeros((64, 64, 3), np.uint8))["image"].shape


def prepare_images(files: Sequence[Path], prepare: dict[str, Any], shape: tuple[int, int, int]) -> Iterator[Prepared]:
    """Decode and prepare in threads (decoding, hashing and OpenCV release the interpreter's lock).

    Args:
        files: Image files.
        prepare: Deterministic transforms as of `albumentations.to_dict`.
        shape: Of all images after them, see `prepared_shape`.

    Yields:
        For each file in turn the image, uint8 RGB; why it could not be read (then it is black), or an empty text;
        and whether `SegmentNucleus` looked for a nucleus and found none. Only a few hundred are held at a time.

    Raises:
        UserError: `prepare` fails, or gives an image another shape.
    """

    def work(chunk: Sequence[Path]) -> list[Prepared]:
        compose = A.from_dict(prepare)  # one for each task: a Compose is not shared by threads
        results = []
        for file in chunk:
            image, no_nucleus = np.zeros(shape, np.uint8), False
            try:
                image = read_image(file)
            except (ValueError, OSError) as reason:
                results.append((image, " ".join(str(reason).split()), no_nucleus))
                continue
            try:
                image = compose(image=image)["image"]
            except Exception as reason:
                raise UserError(f"{file}: transform.prepare fails: {reason}") from reason
            no_nucleus = not all(t.get_applied_params().get("found", True) for t in compose.transforms)
            if image.shape != shape:
                raise UserError(
                    f"{file}: {image.shape[1]} x {image.shape[0]} px after the prepare list, others "
                    f"{shape[1]} x {shape[0]}; end transform.prepare with a Resize"
                )
            results.append((np.ascontiguousarray(image), "", no_nucleus))
        return results

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image a thread is faster than many threads an image
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
