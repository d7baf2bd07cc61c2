"""Uploads wait in memory, each for its own user, once."""

import numpy as np
import pytest

from hemai.app import uploads
from hemai.app.uploads import Mailbox, Upload, cut, explain_unreadable
from hemai.data.image_files import decode_bytes


def test_uploads_are_collected_in_their_order_once_and_only_with_their_number():
    box = Mailbox()
    for number, name in [("one", "a.png"), ("other", "b.png"), ("one", "c.png")]:
        assert box.put(number, Upload(name, b"x"))
    assert [upload.name for upload in box.collect("one")] == ["a.png", "c.png"]
    assert box.collect("one") == []
    assert box.collect("unknown") == []
    assert [upload.name for upload in box.collect("other")] == ["b.png"]


def test_the_same_file_name_twice_is_numbered_and_both_are_kept():
    box = Mailbox()
    for content in (b"1", b"2", b"3"):
        box.put("one", Upload("a.png", content))
    assert box.collect("one") == [Upload("a.png", b"1"), Upload("a.png (2)", b"2"), Upload("a.png (3)", b"3")]


def test_too_many_bytes_are_refused_until_others_are_collected(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    box = Mailbox()
    assert box.put("one", Upload("a", bytes(8)))
    assert not box.put("other", Upload("b", bytes(3)))
    box.collect("one")
    assert box.put("other", Upload("b", bytes(3)))


def test_uploads_that_nobody_collects_are_forgotten(monkeypatch):
    clock = iter([0.0, 1.0, 1000.0])
    monkeypatch.setattr(uploads.time, "monotonic", lambda: next(clock))
    box = Mailbox()
    box.put("closed page", Upload("a", b"x"))
    box.put("other", Upload("b", b"x"))
    box.put("new", Upload("c", b"x"))
    assert box.collect("closed page") == []
    assert len(box.collect("new")) == 1


HEIC = bytes.fromhex("00000018667479706865696300000000")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "is_empty"),
        (b"%PDF-1.7 ...", "is_pdf"),
        (bytes(128) + b"DICM" + bytes(10), "is_dicom"),
        (HEIC, "is_heic"),
        (b"path,label\n", "is_no_image"),
        (b"\x89PNG\r\n\x1a\n", "is_no_image"),
        (b"BM" + bytes.fromhex("36000000000000003600000028000000") + (50_000).to_bytes(4, "little") * 2
         + bytes.fromhex("0100180000000000") + bytes(20), "is_too_large"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_explained_by_its_kind(content, key):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its type is what is explained
        decode_bytes(content)
    assert explain_unreadable(content, caught.value) == key


def test_a_cell_is_cut_out_and_resized_and_a_whole_image_is_left_as_it_is():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:40] = 200
    assert (cut(image, (30, 10, 40, 20), 24) == np.full((24, 24, 3), 200)).all()
    assert cut(image, None, 24) is image
