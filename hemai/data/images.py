"""Reading one image file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # an unreadable file is reported once, by us, with its name


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file.

    Args:
        path: png, jpg, bmp, tif or webp; grey, colour or with alpha (which is dropped); 8 or 16
            bits a channel (the upper 8 are kept). OpenCV darkens the half-transparent pixels of a tif.

    Returns:
        uint8 RGB, shape (height, width, 3), 0..255.

    Raises:
        ValueError: The file is empty, cut short, or no image.
        OSError: The file cannot be opened.
    """
    content = Path(path).read_bytes()
    if not content:
        raise ValueError("the file is empty")
    # OpenCV 5 returns None for a file that is cut short, older versions half an image.
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"not an image, or cut short ({len(content):,} bytes)")
    return image
