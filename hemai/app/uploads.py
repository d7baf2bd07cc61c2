"""Uploaded images: kept in memory until they are answered, decoded, and cut into cells."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from hemai.data.image_files import TooManyPixelsError

EXPIRY_S = 600  # uploads that no answer collected, of a page that was closed
MOST_BYTES = 2 * 10**9  # of all uploads that wait at one time
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
OTHER_FORMATS = (  # start of the signature, signature, key of the explanation in the texts
    (0, b"%PDF", "is_pdf"),
    (128, b"DICM", "is_dicom"),
    (4, b"ftyp", "is_heic"),  # also AVIF and films
)


class Upload(NamedTuple):
    """An uploaded file.

    Attributes:
        name: File name; the second one of a name ends with " (2)".
        content: Bytes of the file.
    """

    name: str
    content: bytes


class Mailbox:
    """Uploads between their arrival and their answer: in memory alone, each collected once, with a secret number.

    The page of a user makes up the number and names it only to the server, so no user reaches the images of another.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, list[Upload]]] = {}
        self._lock = threading.Lock()

    def put(self, number: str, upload: Upload) -> bool:
        """Keep an upload; False if too many bytes wait already."""
        with self._lock:
            now = time.monotonic()
            self._waiting = {key: kept for key, kept in self._waiting.items() if now - kept[0] < EXPIRY_S}
            waiting = sum(len(each.content) for _, uploads in self._waiting.values() for each in uploads)
            if waiting + len(upload.content) > MOST_BYTES:
                return False
            _, uploads = self._waiting.get(number, (now, []))
            self._waiting[number] = (now, [*uploads, upload])
            return True

    def collect(self, number: str) -> list[Upload]:
        """Hand over the uploads of a number, and forget them."""
        with self._lock:
            return _numbered(self._waiting.pop(number, (0, []))[1])


def _numbered(uploads: Sequence[Upload]) -> list[Upload]:
    """Uploads with a name each."""
    seen: dict[str, int] = {}
    named = []
    for name, content in uploads:
        seen[name] = seen.get(name, 0) + 1
        named.append(Upload(name if seen[name] == 1 else f"{name} ({seen[name]})", content))
    return named


def explain_unreadable(content: bytes, error: ValueError) -> str:
    """Key of the text that explains why a file is not an image that can be read."""
    if isinstance(error, TooManyPixelsError):
        return "is_too_large"
    if not content:
        return "is_empty"
    found = (key for start, signature, key in OTHER_FORMATS if content[start : start + len(signature)] == signature)
    return next(found, "is_no_image")


def cut(image: np.ndarray, box: Box | None, side: int) -> np.ndarray:
    """Cut one cell out of an image.

    Args:
        image: uint8 RGB, (height, width, 3).
        box: Box of the cell; None for the whole image, which is not resized.
        side: Side that a cell is resized to, in pixels: that of the training images.
    """
    if box is None:
        return image
    left, top, right, bottom = box
    interpolation = cv2.INTER_AREA if right - left > side else cv2.INTER_LINEAR
    return cv2.resize(image[top:bottom, left:right], (side, side), interpolation=interpolation)
