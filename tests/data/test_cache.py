import errno
import os
import shutil
import threading
import time
from collections import namedtuple

import albumentations as A
import cv2
import numpy as np
import pytest

from hemai.data import cache as cache_module
from hemai.data.cache import cache_root, load_cache
from hemai.data.images import read_image
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

RESIZE = ImagePipeline([A.Resize(16, 20)])
PATHS = ["a/1.png", "a/2.bmp", "b/3.png", "b/4.png"]


@pytest.fixture
def root(folder_tree):
    return folder_tree(PATHS)


def test_row_i_is_image_i_after_the_prepare_list(root):
    cache = load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    assert cache.images.shape == (4, 16, 20, 3)
    assert cache.images.dtype == np.uint8
    for path, image in zip(PATHS, cache.images, strict=True):
        assert np.array_equal(image, A.Resize(16, 20)(image=read_image(root / path))["image"])
    assert cache.errors.tolist() == [""] * 4


def test_many_images_keep_their_order(folder_tree):
    paths = [f"a/{i}.bmp" for i in range(100)]  # more than three tasks of the pool
    root = folder_tree(paths)
    cache = load_cache("cells", root, paths, ImagePipeline([]).prepare_spec)
    assert all(np.array_equal(cache.images[i], read_image(root / path)) for i, path in enumerate(paths))


def test_a_cache_is_built_once_and_images_are_mapped_from_disk(root, cache_folder, monkeypatch):
    first = load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    monkeypatch.setattr(cache_module, "_build", None)
    second = load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    assert second.folder == first.folder
    assert first.folder.parent == cache_folder
    assert isinstance(second.images, np.memmap)
    assert np.array_equal(second.images, first.images)
    assert second.content.tolist() == first.content.tolist()


def test_a_changed_file_or_prepare_list_makes_a_new_cache(root):
    folders = {load_cache("cells", root, PATHS, RESIZE.prepare_spec).folder}
    os.utime(root / PATHS[0], ns=(0, 1))
    folders.add(load_cache("cells", root, PATHS, RESIZE.prepare_spec).folder)
    (root / PATHS[2]).write_bytes((root / PATHS[2]).read_bytes() + b" ")
    os.utime(root / PATHS[2], ns=(0, 1))
    folders.add(load_cache("cells", root, PATHS, RESIZE.prepare_spec).folder)
    folders.add(load_cache("cells", root, PATHS, ImagePipeline([A.Resize(16, 21)]).prepare_spec).folder)
    folders.add(load_cache("cells", root, PATHS[:3], RESIZE.prepare_spec).folder)
    assert len(folders) == 5


def test_nothing_is_written_below_the_images(root):
    before = sorted(root.rglob("*"))
    load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(("suffix", "share"), [("bmp", 0.5), ("jpg", 0.5), ("png", 0.5), ("bmp", 0), ("png", 0)])
def test_an_unreadable_file_is_recorded_and_black(root, draw_image, suffix, share):
    broken = draw_image(root / "a" / f"broken.{suffix}")
    content = broken.read_bytes()
    broken.write_bytes(content[: int(len(content) * share)])
    cache = load_cache("cells", root, ["a/1.png", f"a/broken.{suffix}", "b/3.png"], RESIZE.prepare_spec)
    assert [bool(error) for error in cache.errors] == [False, True, False]
    assert ("truncated" if share else "empty") in cache.errors[1]
    assert not cache.images[1].any()
    assert cache.images[0].any()
    assert cache.images[2].any()


def test_text_in_the_first_place_is_recorded_too(root):
    (root / "a" / "0.bmp").write_text("no, pixels\n")
    cache = load_cache("cells", root, ["a/0.bmp", "a/1.png"], RESIZE.prepare_spec)
    assert "not an image" in cache.errors[0]
    assert cache.errors[1] == ""


def test_a_link_to_nowhere_is_unreadable(root):
    (root / "a" / "0.png").symlink_to(root / "nowhere.png")
    cache = load_cache("cells", root, ["a/0.png", "a/1.png"], RESIZE.prepare_spec)
    assert cache.errors[0] != ""
    assert cache.errors[1] == ""


def test_content_is_equal_for_identical_files_alone(root):
    shutil.copy(root / "a/1.png", root / "b/copy.png")
    pixels = read_image(root / "a/1.png")
    cv2.imwrite(str(root / "b/same_pixels.bmp"), pixels[..., ::-1])
    paths = [*PATHS, "b/copy.png", "b/same_pixels.bmp"]
    cache = load_cache("cells", root, paths, RESIZE.prepare_spec)
    assert np.array_equal(cache.images[0], cache.images[5])  # equal when prepared, but not the same file
    assert cache.content[0] == cache.content[4]
    assert len(set(cache.content)) == 5


def test_a_full_disk_is_told_before_anything_is_written(root, cache_folder, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(UserError, match=r"cannot write 0 MB to .*cache.*free space or set HEMAI_CACHE"):
        load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    assert list(cache_folder.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(root, cache_folder, monkeypatch):
    class FullDisk:
        def __init__(self, file, mode):
            self.file, self.left = file.open(mode), 1500  # one image and a half

        def write(self, data):
            self.left -= len(memoryview(data).cast("B"))
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    monkeypatch.setattr(cache_module, "open", FullDisk, raising=False)
    with pytest.raises(UserError, match="No space left on device"):
        load_cache("cells", root, PATHS, RESIZE.prepare_spec)
    assert list(cache_folder.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("HEMAI_CACHE", str(cache_folder))
    assert load_cache("cells", root, PATHS, RESIZE.prepare_spec).images[3].any()


@pytest.mark.parametrize("locks", [True, False])
def test_several_runs_may_want_the_same_cache_at_once(root, cache_folder, monkeypatch, locks):
    if not locks:  # as on some network file systems: then both build it
        monkeypatch.setattr(cache_module.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    started, built = threading.Barrier(2, timeout=20), []
    shape = cache_module.prepared_shape

    def slow_shape(*given):
        built.append(1)
        time.sleep(0.2)
        return shape(*given)

    monkeypatch.setattr(cache_module, "prepared_shape", slow_shape)
    caches = []

    def load():
        started.wait()
        caches.append(load_cache("cells", root, PATHS, RESIZE.prepare_spec))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == (1 if locks else 2)
    assert np.array_equal(caches[0].images, caches[1].images)
    assert list(cache_folder.iterdir()) == [caches[0].folder]


def test_images_of_different_sizes_are_refused(root, cache_folder):
    cv2.imwrite(str(root / "b/5.png"), np.zeros((30, 50, 3), np.uint8))
    with pytest.raises(UserError, match=r"5\.png: 50 x 30 px after the prepare list.*other images 48 x 48.*Resize"):
        load_cache("cells", root, [*PATHS, "b/5.png"], ImagePipeline([]).prepare_spec)
    assert list(cache_folder.iterdir()) == []


@pytest.mark.parametrize(
    "transform",
    [A.Normalize(), A.ToGray(num_output_channels=1, p=1), A.CenterCrop(99, 99)],
    ids=["float", "grey", "crop"],
)
def test_a_prepare_list_that_cannot_be_cached_is_refused(root, transform):
    with pytest.raises(UserError, match=r"transform\.prepare|prepare list"):
        load_cache("cells", root, PATHS, ImagePipeline([transform]).prepare_spec)


def test_a_file_in_place_of_the_cache_folder_is_refused(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEMAI_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set HEMAI_CACHE to another folder"):
        load_cache("cells", root, PATHS, RESIZE.prepare_spec)


def test_the_identical_files_of_fold_1_are_five_pairs_of_one_patient(real_data):
    folder = real_data / "cnmc" / "C-NMC_training_data" / "fold_1" / "hem"
    paths = sorted(file.name for file in folder.glob("UID_H10_*"))
    cache = load_cache("cnmc", folder, paths, ImagePipeline([A.Resize(32, 32)]).prepare_spec)
    assert len(paths) == 405
    assert len(set(cache.content)) == 400


def test_the_home_of_an_unknown_user_is_a_name_like_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEMAI_CACHE", "~nobody-of-this-name/cache")
    assert cache_root() == tmp_path / "~nobody-of-this-name" / "cache"
