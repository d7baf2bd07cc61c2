"""What is checked before an image file is decoded, and the one rule for its depth."""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

TIFF = (b"II*\0", b"MM\0*")


def read_regular_file(path: str | Path) -> bytes:
    """Read a file, but no fifo or device, which may never end.

    Raises:
        ValueError: Not a regular file, or an empty one.
        OSError: The file cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file, but a folder, fifo or device; remove it")
    content = Path(path).read_bytes()
    if not content:
        raise ValueError("the file is empty")
    return content


def check_size(content: bytes) -> None:
    """Refuse an image above `$HEMAI_MAX_MEGAPIXELS` (default 100) by its header, before memory is used for it.

    A header that Pillow cannot read is left to OpenCV, which has a limit of its own (2**30 pixels).

    Raises:
        ValueError: The image is too large.
    """
    limit = float(os.environ.get("HEMAI_MAX_MEGAPIXELS") or 100)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(io.BytesIO(content)).size
    except Image.DecompressionBombError as error:
        if limit * 1e6 < 2 * (Image.MAX_IMAGE_PIXELS or 0):
            raise ValueError(f"above {limit:g} megapixels; cut it into tiles or set HEMAI_MAX_MEGAPIXELS") from error
        return
    except Exception:  # Pillow raises errors of many types on damaged headers; OpenCV reports the file
        return
    if width * height > limit * 1e6:
        raise ValueError(
            f"{width:,} x {height:,} px are above {limit:g} megapixels; cut it into tiles or set HEMAI_MAX_MEGAPIXELS"
        )


def decode(content: bytes) -> np.ndarray | None:
    """Decode to uint8 RGB, without alpha; None if it is no image of 8 or 16 bits.

    Of 16 bits the upper 8 are kept; of an image whose values are all below 4096 (12 bits of a camera in a file of 16)
    the upper 8 of 12.
    """
    data = np.frombuffer(content, np.uint8)
    may_be_deep = content[:4] in TIFF or (content[1:4] == b"PNG" and content[24:25] == b"\x10")
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if may_be_deep else None
    if image is None or image.dtype != np.uint16:
        return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    to_rgb = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    image = cv2.cvtColor(image, to_rgb[1 if image.ndim == 2 else image.shape[2]])
    return (image // np.uint16(16 if image.max() < 4096 else 256)).astype(np.uint8)
