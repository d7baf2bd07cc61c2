"""Decode image files: what is refused before it is decoded, and one rule each for depth and alpha."""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_MEGAPIXELS = 100
NO_IMAGE = "not an image of 8 or 16 bits per channel (bmp, jpg, png, tif or webp), or truncated ({size:,} bytes)"
CONVERSIONS = {  # what is recorded of an image -> the rule that was applied, for the user
    "12 bits": "of 12 bits in files of 16 (the upper 8 of 12 are kept)",
    "16 bits": "of 16 bits (the upper 8 are kept)",
    "alpha": "with transparent pixels (laid over black)",
}
# By the first bytes. The classes are used without `Image.open`, which also tries all other formats of Pillow, and has a
# limit of pixels for the whole process.
HEADERS: dict[bytes, type[ImageFile]] = {
    b"BM": BmpImageFile,
    b"GI": GifImageFile,
    b"\xff\xd8": JpegImageFile,
    b"\x89P": PngImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
    b"RI": WebPImageFile,
}

# hemai itself reports an unreadable file, once and with its name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class TooManyPixelsError(ValueError):
    """An image that is too large to be decoded."""


class Decoded(NamedTuple):
    """A decoded image file.

    Attributes:
        image: uint8 RGB, shape (height, width, 3), 0..255.
        conversion: Names of `CONVERSIONS` that were applied, with commas; empty for opaque images of 8 bits.
        crc32: CRC-32 of the file; 0 if it was not computed.
    """

    image: np.ndarray
    conversion: str
    crc32: int


def decode_file(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS, checksum: bool = True) -> Decoded:
    """Decode an image file, if it is a regular file and its header names no more than `max_megapixels`.

    Of 16 bits the upper 8 are kept; if all values are below 4096, they are 12 bits of a camera, and the upper 8 of 12
    are kept. Transparent pixels are laid over black, as the background of cut-out cells is: so it does not matter that
    some encoders drop the colours under an alpha of 0, and others multiply colours by alpha.

    Args:
        path: bmp, gif, jpg, png, tif or webp; of several frames or pages the first.
        max_megapixels: Largest image that memory is used for, in millions of pixels.
        checksum: Whether to compute the CRC-32, a tenth of the time.

    Raises:
        ValueError: Not a regular file, empty, truncated, too large, or not an image.
        OSError: The file cannot be opened.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # a fifo or a device may never end
        raise ValueError("not a regular file, but a folder, fifo or device; remove it")
    with open(path, "rb") as file:
        has_alpha = _check_header(file, status.st_size, max_megapixels)
    return _decode_checked(Path(path).read_bytes(), has_alpha, checksum)


def decode_bytes(content: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Decoded:
    """Decode the content of an image file; see `decode_file`."""
    has_alpha = _check_header(io.BytesIO(content), len(content), max_megapixels)
    return _decode_checked(content, has_alpha, checksum=False)


def _decode_checked(content: bytes, has_alpha: bool, checksum: bool) -> Decoded:
    """Decode a file whose header was checked."""
    image, conversions = _decode(content), []
    if image.dtype == np.uint16:
        bits = 12 if image.max() < 4096 else 16
        image = (image // np.uint16(2 ** (bits - 8))).astype(np.uint8)
        conversions.append(f"{bits} bits")
    if has_alpha and (rgba := _decode_with_alpha(content))[..., 3].min() < 255:
        # OpenCV multiplies the colours of some tif files by alpha, Pillow of none.
        colours = image if conversions == ["12 bits"] else rgba[..., :3]
        image = ((colours * rgba[..., 3:].astype(np.uint16) + 127) // 255).astype(np.uint8)
        conversions.append("alpha")
    return Decoded(image, ", ".join(conversions), zlib.crc32(content) if checksum else 0)


def conversion_note(conversions: Iterable[str]) -> list[str]:
    """One sentence on how many images were converted by which rule; none if all are opaque and of 8 bits.

    Args:
        conversions: `Decoded.conversion` of each image.
    """
    counts = Counter(name for conversion in conversions if conversion for name in conversion.split(", "))
    parts = [f"{counts[name]:,} {rule}" for name, rule in CONVERSIONS.items() if name in counts]
    return [f"images converted to opaque RGB of 8 bits: {', '.join(parts)}"] if parts else []


def _check_header(file: BinaryIO, size: int, max_megapixels: float) -> bool:
    """Whether the header of a file that may be decoded names transparency."""
    if size == 0:
        raise ValueError("the file is empty")
    start = file.read(2)
    file.seek(0)
    try:
        header = HEADERS[start](file)
        header.verify()  # checksums of a png: OpenCV 5.0.0 fills memory up to any length that a damaged file names
        (width, height), has_alpha = header.size, header.has_transparency_data
    except Exception as error:  # Pillow raises errors of many types
        raise ValueError(NO_IMAGE.format(size=size)) from error
    if width * height > max_megapixels * 1e6:
        raise TooManyPixelsError(
            f"{width:,} x {height:,} px, expected at most {max_megapixels:g} megapixels; cut it into tiles"
        )
    return bool(has_alpha)


def _decode(content: bytes) -> np.ndarray:
    """Colours as stored, RGB of 8 or 16 bits, without alpha."""
    # OpenCV 5 returns None for a truncated file, older versions half an image. Not IMREAD_COLOR_RGB: with it 5.0.0
    # returns memory that nothing was written to, for a tif of 16 bits.
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it: {' '.join(str(error).split())}") from error
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(NO_IMAGE.format(size=len(content)))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode_with_alpha(content: bytes) -> np.ndarray:
    """Colours and alpha, uint8 RGBA, the colours not multiplied by alpha."""
    try:
        picture = HEADERS[content[:2]](io.BytesIO(content))
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))  # OpenCV turns it too
    except Exception as error:
        raise ValueError(f"its transparency cannot be decoded ({error}); save it without") from error
