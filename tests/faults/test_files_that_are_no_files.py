"""Files that hang or flood a reader are named, and depth and alpha follow one rule."""

from __future__ import annotations

import os
import resource
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
from PIL import Image

from hemai.data import CellDataModule, FolderDataset
from hemai.data.image_files import conversion_note, decode_file
from hemai.data.images import find_images, prepare_images, read_image
from hemai.reporting.segmentation import segment_images
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

RNG = np.random.default_rng(0)
RESIZE = ImagePipeline([A.Resize(16, 16)])


def make_fifo(file: Path) -> int:
    """A fifo with a writer, so that opening it fails a test instead of hanging it; the descriptor must be closed."""
    os.mkfifo(file)
    writer = os.open(file, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, b"no image")
    return writer


def chunk(name: bytes, data: bytes) -> bytes:
    """Chunk of a png (RFC 2083)."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_bomb(file: Path, side: int) -> None:
    """A black png of one bit, a thousand times smaller than its pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    deflate = zlib.compressobj()
    row = bytes(1 + -(-side // 8))
    pixels = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_a_fifo_is_named_instead_of_waited_for(tmp_path: Path) -> None:
    writer = make_fifo(tmp_path / "cell.png")
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / "cell.png")
    os.close(writer)


def test_a_link_to_a_device_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell.png").symlink_to("/dev/null")
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / "cell.png")


def test_segment_and_predict_name_every_file_that_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "folder.png").mkdir(parents=True)
    cv2.imwrite(str(folder / "good.png"), RNG.integers(0, 256, (32, 32, 3), np.uint8))
    (folder / "device.png").symlink_to("/dev/null")
    (folder / "empty.png").touch()
    write_bomb(folder / "bomb.png", 10_001)
    writer = make_fifo(folder / "fifo.png")
    files = find_images([str(folder)])
    prepared = prepare_images(list(files), RESIZE.prepare_spec, (16, 16, 3))  # as predict does
    errors = {file.stem: each.error for file, each in zip(files, prepared, strict=True)}
    assert errors.pop("good") == "" and errors.pop("empty") == "the file is empty"
    assert errors.pop("bomb") == "10,001 x 10,001 px, expected at most 100 megapixels; cut it into tiles"
    assert {name: error.split(",")[0] for name, error in errors.items()} == dict.fromkeys(
        ["device", "fifo"], "not a regular file"
    )
    with pytest.raises(UserError, match=r"4 of 5 images could not be read: bomb.png .*device.png .*empty.png .*fifo"):
        segment_images([str(folder)], tmp_path / "out")
    os.close(writer)


@pytest.mark.parametrize(("side", "is_read"), [(1000, True), (1001, False)])
def test_the_limit_is_a_setting_of_the_data(tmp_path: Path, side: int, is_read: bool, cache_folder: Path) -> None:
    for label in ("blast", "normal"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(tmp_path / "data" / label / f"P{number}.png"), RNG.integers(0, 256, (9, 9, 3), np.uint8))
    write_bomb(tmp_path / "data" / "blast" / "P3.png", side)
    cells = FolderDataset(tmp_path / "data", pattern=r"(P\d+)")
    data = CellDataModule(cells, RESIZE, max_megapixels=1)
    if is_read:
        data.setup()
        assert len(data.table) == 7
    else:
        with pytest.raises(UserError, match=r"(?s)P3.png: 1,001 x 1,001 px.* or raise data.max_megapixels"):
            data.setup()
        CellDataModule(cells, RESIZE, max_megapixels=2).setup()  # a higher limit does not open the refused cache


def test_a_damaged_length_in_a_png_does_not_fill_memory(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cell.png"), RNG.integers(0, 256, (32, 32, 3), np.uint8))
    content = (tmp_path / "cell.png").read_bytes()
    position = content.index(b"IDAT") - 4
    (tmp_path / "cell.png").write_bytes(content[:position] + b"\x7f" + content[position + 1 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="truncated"):
        read_image(tmp_path / "cell.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB: 1 of the 2 GiB it names


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow; pytest drops the filter that hemai sets
@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "tif", "webp"])
def test_whatever_the_bytes_an_image_or_a_reason_comes_back(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / f"cell.{suffix}"
    pixels = rng.integers(0, 256, (24, 20, 4), np.uint8)
    Image.fromarray(pixels if suffix in ("png", "tif", "webp") else pixels[..., :3]).save(file)
    content = np.frombuffer(file.read_bytes(), np.uint8)
    read_image(file)
    for _ in range(60):
        damaged = content[: rng.integers(1, len(content) + 1)].copy()
        places = rng.integers(0, min(len(damaged), 200), 4)
        damaged[places] = rng.integers(0, 256, 4)
        file.write_bytes(damaged.tobytes())
        with suppress(ValueError):
            image = read_image(file)
            assert image.dtype == np.uint8 and image.shape[2] == 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("stored", "shown"), [(2000, 125), (4095, 255), (51_200, 200)])
def test_12_bits_in_16_are_as_bright_as_8(tmp_path: Path, suffix: str, stored: int, shown: int) -> None:
    colours = np.full((4, 4, 3), (stored, stored // 2, 0), np.uint16)
    cv2.imwrite(str(tmp_path / f"cell.{suffix}"), colours[..., ::-1])
    decoded = decode_file(tmp_path / f"cell.{suffix}")
    assert decoded.image[0, 0].tolist() == [shown, shown // 2, 0]
    assert decoded.conversion == ("12 bits" if stored < 4096 else "16 bits")


def test_a_bright_grey_image_with_a_dark_edge_keeps_its_upper_bits(tmp_path: Path) -> None:
    grey = np.full((4, 8), 51_200, np.uint16)
    grey[:, :4] = 0
    cv2.imwrite(str(tmp_path / "cell.png"), grey)
    assert read_image(tmp_path / "cell.png")[0, :, 0].tolist() == [0, 0, 0, 0, 200, 200, 200, 200]


FORMATS = [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"}), ("webp", {"lossless": True})]


@pytest.mark.parametrize(("suffix", "options"), [*FORMATS, ("webp", {"lossless": True, "exact": True})])
def test_transparent_pixels_are_laid_over_black_in_every_format(tmp_path: Path, suffix: str, options: dict) -> None:
    pixels = np.full((4, 6, 4), (200, 100, 30, 255), np.uint8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 51  # a fifth
    turned = Image.Exif()
    turned[0x0112] = 6  # the first row is the right side, in png and webp; the tif has no such tag here
    options = options if suffix == "tif" else options | {"exif": turned}
    Image.fromarray(pixels).save(tmp_path / f"cell.{suffix}", **options)
    image, conversion, _ = decode_file(tmp_path / f"cell.{suffix}")
    rows = image if suffix == "tif" else np.rot90(image)
    assert [rows[row, 2].tolist() for row in range(4)] == [[0, 0, 0], [40, 20, 6], [200, 100, 30], [200, 100, 30]]
    assert conversion == "alpha"


@pytest.mark.parametrize(("suffix", "depth"), [("png", 12), ("png", 16), ("tif", 12), ("tif", 16)])
def test_depth_and_alpha_together(tmp_path: Path, suffix: str, depth: int) -> None:
    unit = 2 ** (depth - 8)
    pixels = np.full((4, 4, 4), (200 * unit, 100 * unit, 30 * unit, 65_535), np.uint16)
    pixels[0, :, 3] = 51 * 257
    cv2.imwrite(str(tmp_path / f"cell.{suffix}"), pixels[..., [2, 1, 0, 3]])
    image, conversion, _ = decode_file(tmp_path / f"cell.{suffix}")
    assert image[:2, 0].tolist() == [[40, 20, 6], [200, 100, 30]]
    assert conversion == f"{depth} bits, alpha"


def test_the_note_counts_images_by_rule() -> None:
    assert conversion_note(["", ""]) == []
    [note] = conversion_note(["", "12 bits", "16 bits, alpha", "alpha", "alpha"])
    assert "1 of 12 bits in files" in note and "1 of 16 bits (" in note and "3 with transparent pixels" in note


def test_the_note_is_there_again_when_the_cache_is(tmp_path: Path, cache_folder: Path) -> None:
    for label in ("blast", "normal"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            grey = RNG.integers(0, 65_536, (9, 9)).astype(np.uint16)
            cv2.imwrite(str(tmp_path / "data" / label / f"P{number}.png"), grey)
    for _ in range(2):
        data = CellDataModule(FolderDataset(tmp_path / "data", pattern=r"(P\d+)"), RESIZE)
        data.setup()
        assert sum("6 of 16 bits" in note for note in data.dataset.notes) == 1


def test_published_images_are_decoded_as_by_opencv_alone(real_data: Path) -> None:
    for pattern in ("cnmc/**/*.bmp", "iranian/**/*.jpg"):
        file = next(real_data.glob(pattern))
        plain = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        decoded = decode_file(file)
        assert np.array_equal(decoded.image, plain) and decoded.conversion == ""
        assert decoded.crc32 == zlib.crc32(file.read_bytes())
