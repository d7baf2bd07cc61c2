"""A damaged cache is noticed, and built again, before anything trains on it."""

import errno
import os
import shutil
import zlib

import albumentations as A
import numpy as np
import pytest

from hemai.data import cache as cache_module
from hemai.data.cache import load_cache
from hemai.transforms import ImagePipeline
from hemai.utils import checksums
from hemai.utils.errors import UserError
from hemai.utils.failures import explain_failure

RESIZE = ImagePipeline([A.Resize(16, 20)]).prepare_spec
PATHS = ["a/1.png", "a/2.bmp", "b/3.png", "b/4.png"]


@pytest.fixture
def root(folder_tree, cache_folder):
    return folder_tree(PATHS)


def load(root):
    return load_cache("cells", root, PATHS, RESIZE)


def flip_one_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def zero_the_end(file):
    content = file.read_bytes()
    file.write_bytes(content[:-40] + bytes(40))


def shorten(file):
    os.truncate(file, file.stat().st_size - 7)


def empty(file):
    os.truncate(file, 0)


def drop_the_last_line(file):
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("name", ["images.npy", "files.csv"])
@pytest.mark.parametrize("damage", [flip_one_bit, zero_the_end, shorten, empty, os.unlink])
def test_a_damaged_cache_is_built_again(root, name, damage, capfd):
    before = load(root)
    pixels, folder = before.images.copy(), before.folder
    damage(folder / name)
    capfd.readouterr()
    after = load(root)
    assert np.array_equal(after.images, pixels)
    assert after.errors.tolist() == before.errors.tolist() and after.content.tolist() == before.content.tolist()
    [line] = [line for line in capfd.readouterr().err.splitlines() if "damaged" in line]
    assert line.startswith(f"the cache {folder} is damaged (") and line.endswith("; preparing the images again")
    assert load(root).folder == folder
    assert capfd.readouterr().err == ""
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("damage", [zero_the_end, shorten, empty])
def test_a_cache_with_damaged_checksums_is_built_again(root, damage, capfd):
    damage(load(root).folder / "checksums.json")
    load(root)
    assert capfd.readouterr().err.count("is damaged") == 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [("images.npy", shorten), ("images.npy", empty), ("files.csv", empty), ("files.csv", drop_the_last_line)],
)
def test_a_shortened_cache_without_checksums_is_built_again(root, name, damage, capfd):
    before = load(root)
    pixels = before.images.copy()
    (before.folder / "checksums.json").unlink()
    damage(before.folder / name)
    assert np.array_equal(load(root).images, pixels)
    assert "is damaged" in capfd.readouterr().err


def test_a_cache_has_the_crc_32_of_every_file(root):
    assert load(root).crc32.tolist() == [zlib.crc32((root / path).read_bytes()) for path in PATHS]


def test_unchanged_files_are_read_once(root, monkeypatch):
    folder = load(root).folder
    read = []
    whole = checksums.block_checksums
    monkeypatch.setattr(checksums, "block_checksums", lambda file: read.append(file.name) or whole(file))
    load(root)
    assert read == []  # they were checked when they were built
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    load(root)
    load(root)
    assert read == ["images.npy", "files.csv"]


def test_a_bit_is_noticed_although_the_time_of_the_file_is_put_back(root, capfd):
    file = load(root).folder / "images.npy"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    flip_one_bit(file)
    os.utime(file, ns=times)
    load(root)
    assert "1 of 1 blocks of images.npy changed" in capfd.readouterr().err


def test_checksums_are_crc_32_of_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(checksums, "BLOCK", 4)
    (tmp_path / "file").write_bytes(b"1234567895")
    # The check value of CRC-32 is that of 123456789 (G. Cook, Catalogue of parametrised CRC algorithms).
    assert checksums.block_checksums(tmp_path / "file") == [zlib.crc32(part) for part in (b"1234", b"5678", b"95")]
    monkeypatch.setattr(checksums, "BLOCK", 9)
    assert checksums.block_checksums(tmp_path / "file")[0] == 0xCBF43926


def refuse_to_write(monkeypatch):
    """A file system that cannot be written, also by root."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))

    def refuse(file, text):
        raise PermissionError(30, "Read-only file system", str(file))

    monkeypatch.setattr(checksums, "write_text", refuse)
    monkeypatch.setattr(cache_module, "write_text", refuse)


def test_a_cache_that_cannot_be_written_works(root, monkeypatch):
    cache = load(root)
    os.utime(cache.folder / "images.npy")
    before = {file.name: file.read_bytes() for file in cache.folder.iterdir()}
    refuse_to_write(monkeypatch)
    again = load(root)
    assert np.array_equal(again.images, cache.images) and again.crc32.tolist() == cache.crc32.tolist()
    assert {file.name: file.read_bytes() for file in cache.folder.iterdir()} == before


def test_a_damaged_cache_that_cannot_be_removed_is_reported(root, monkeypatch):
    flip_one_bit(load(root).folder / "images.npy")

    def refuse(*_):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(cache_module.Path, "rename", refuse)
    with pytest.raises(UserError, match=r"damaged \(1 of 1 .*cannot be removed .*set HEMAI_CACHE to another folder"):
        load(root)


@pytest.mark.parametrize("value", ["-1", "99999999999999", "x"])
def test_a_cache_whose_table_holds_no_checksum_is_built_again(root, value, capfd):
    folder = load(root).folder
    header, *rows = (folder / "files.csv").read_text("utf-8").splitlines()
    crc32 = header.split(",").index("crc32")
    rows = [",".join([*row.split(",")[:crc32], value, *row.split(",")[crc32 + 1 :]]) for row in rows]
    (folder / "files.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    os.unlink(folder / "checksums.json")
    load(root)
    assert "damaged" in capfd.readouterr().err


@pytest.mark.parametrize("number, told", [(errno.ENOMEM, "out of memory"), (errno.EIO, "cannot read the cache")])
def test_a_cache_that_cannot_be_read_now_is_not_removed(root, monkeypatch, number, told):
    folder = load(root).folder

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hemai.data.cache.np.load", refuse)
    with pytest.raises(OSError if number == errno.ENOMEM else UserError) as refused:
        load(root)
    assert told in explain_failure(refused.value)
    assert (folder / "images.npy").is_file()
