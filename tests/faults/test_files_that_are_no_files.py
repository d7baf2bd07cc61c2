"""Files that hang or flood a reader are named, and depth follows one rule."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from hemai.data.images import read_image


def test_a_fifo_is_named_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cell.png")
    writer = os.open(tmp_path / "cell.png", os.O_RDWR)  # so that opening it fails the test and does not hang it
    os.write(writer, b"no image")
    os.set_blocking(writer, False)
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / "cell.png")
    os.close(writer)


def test_a_link_to_a_device_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell.png").symlink_to("/dev/null")
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / "cell.png")


def _png_header(width: int, height: int) -> bytes:
    """PNG of these dimensions whose data (chunk IDAT) is empty (RFC 2083)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("side", [10_001, 30_000])
def test_an_image_above_100_megapixels_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "cell.png").write_bytes(_png_header(side, side))
    with pytest.raises(ValueError, match="above 100 megapixels"):
        read_image(tmp_path / "cell.png")


def test_the_limit_of_megapixels_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "cell.png"), np.zeros((200, 200, 3), np.uint8))
    monkeypatch.setenv("HEMAI_MAX_MEGAPIXELS", "0.03")
    with pytest.raises(ValueError, match=r"200 x 200 px are above 0.03 megapixels"):
        read_image(tmp_path / "cell.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("stored", "shown"), [(2000, 125), (4095, 255), (51_200, 200)])
def test_12_bits_in_16_are_as_bright_as_8(tmp_path: Path, suffix: str, stored: int, shown: int) -> None:
    colours = np.full((4, 4, 3), (stored, stored // 2, 0), np.uint16)
    cv2.imwrite(str(tmp_path / f"cell.{suffix}"), colours[..., ::-1])
    assert read_image(tmp_path / f"cell.{suffix}")[0, 0].tolist() == [shown, shown // 2, 0]


def test_a_bright_grey_image_with_a_dark_edge_keeps_its_upper_bits(tmp_path: Path) -> None:
    grey = np.full((4, 8), 51_200, np.uint16)
    grey[:, :4] = 0
    cv2.imwrite(str(tmp_path / "cell.png"), grey)
    assert read_image(tmp_path / "cell.png")[0, :, 0].tolist() == [0, 0, 0, 0, 200, 200, 200, 200]
