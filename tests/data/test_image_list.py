import os

import pytest

from hemai.data.image_list import list_images
from hemai.utils.errors import UserError


@pytest.fixture
def table(tmp_path):
    """Write a csv file beside an image a.png."""
    (tmp_path / "a.png").write_bytes(b"")

    def write(text):
        (tmp_path / "list.csv").write_text(text, encoding="utf-8")
        return [str(tmp_path / "list.csv")]

    return write


def test_a_path_in_a_csv_is_relative_to_its_folder_or_absolute(table, tmp_path):
    listed = list_images(table(f"path\na.png\n{tmp_path}/b.png\n"))
    assert listed.files == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert listed.names == ["a.png", f"{tmp_path}/b.png"]
    assert listed.groups is None


def test_a_name_may_begin_with_a_tilde(table, tmp_path):
    assert list_images(table("path\na.png\n~backup.png\n")).files[1] == str(tmp_path / "~backup.png")


def test_a_pattern_finds_the_group_named_group_or_the_first_part(table):
    assert list_images(table("path\na.png\nx_P7_1.png\n"), r"([a-z])_?(?P<group>P\d|\.)").groups == [".", "P7"]
    assert list_images(table("path\na.png\nx_P7_1.png\n"), r"([a-z])").groups == ["a", "x"]


@pytest.mark.parametrize(
    "text, pattern, told",
    [
        ("file\na.png\n", None, "no column path"),
        ("path\n", None, "found no rows, expected"),
        ("path,group\na.png,1\n,2\n", None, "1 rows without a path"),
        ("path\na.png\na.png\n", None, "1 paths occur twice"),
        ("path\na.png\n./a.png\n", None, "1 paths occur twice"),
        ("path\nb.png\nc.png\n", None, "none of its 2 paths exists"),
        ("path,group\na.png,\n", None, "1 rows have no group"),
        ("path,Group\na.png,1\n", None, "the column 'Group' would be ignored; rename it to group"),
        ("path,group\na.png,1\n", "(a)", "has a column group; remove one"),
        ("path\na.png\nb.png\n", "(a)", "finds no group in 1 of 2 names"),
        ("path\na.png\n", "(", "not a valid regular expression"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(table, text, pattern, told):
    with pytest.raises(UserError, match=told):
        list_images(table(text), pattern)


def test_the_digest_tells_a_replaced_image_and_another_group(table, tmp_path):
    def digest(text="path\na.png\nmissing.png\n"):
        return list_images(table(text)).digest()

    first = digest()
    assert digest() == first
    assert digest("path,group\na.png,1\nmissing.png,1\n") != first
    os.utime(tmp_path / "a.png", ns=(0, 5))
    assert digest() != first
