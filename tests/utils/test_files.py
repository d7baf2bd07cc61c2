import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hemai.utils.errors import UserError
from hemai.utils.files import build_folder, read_table, replace_file


def test_a_folder_appears_whole_under_its_name_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "above" / "built"
    with build_folder(folder, 0, "choose another") as part:
        (part / "file").write_text("1")
        assert not folder.exists()
    assert (folder / "file").read_text() == "1"
    assert list(folder.parent.iterdir()) == [folder]
    assert folder.stat().st_mode & 0o777 == (tmp_path / "above").stat().st_mode & 0o777  # others may read it


def test_of_two_that_build_the_same_folder_the_first_to_finish_keeps_it(tmp_path):
    folder, both_build = tmp_path / "built", threading.Barrier(2, timeout=20)

    def build(name):
        with build_folder(folder, 0, "choose another") as part:
            both_build.wait()
            (part / name).write_text("")

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(build, "ab")) == [None, None]  # the second raises nothing
    assert [file.name for file in folder.iterdir()] in (["a"], ["b"])
    assert list(tmp_path.iterdir()) == [folder]


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path):
    old, new = tmp_path / "built.part-old", tmp_path / "built.part-new"
    for folder, hours in ((old, 25), (new, 23)):
        folder.mkdir()
        os.utime(folder, (0, time.time() - 3600 * hours))
    with build_folder(tmp_path / "built", 0, "choose another"):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "built", new])


def test_a_folder_that_cannot_be_written_is_told_with_its_size_and_a_way_out(tmp_path):
    (tmp_path / "file").touch()
    told = r"cannot write 3 MB to .*built .*; free space or choose another"
    with pytest.raises(UserError, match=told), build_folder(tmp_path / "file" / "built", 3_000_000, "choose another"):
        pytest.fail("there is no room")


def test_cells_of_a_table_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("path,group\n1,007\n,NA\n")
    assert read_table(tmp_path / "t.csv", "data.csv", ["group"]).to_numpy().tolist() == [["1", "007"], ["", "NA"]]


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "data.csv: cannot read"),
        (b"", "data.csv: cannot read"),
        (b"\xff\xfe,\x00", "data.csv: cannot read|no column group"),
        (b"a\n1,2\n3,4,5,6\n", "data.csv: cannot read"),
        (b"path,grupp\n1,2\n", r"t\.csv: no column group; found path, grupp, expected path, group"),
        (b"path,Group\n1,2\n", "no column group; .*; rename Group to group"),
        (b"path,group\n1,2,3\n4,5,6\n", "cannot read .*Expected 2 fields in line 2, saw 3"),
        (b"path,group,path\n1,2,3\n", "column path occurs twice; remove one"),
        (b"path;group\n1;2\n", "no column path, group; .*separated by ';', save it with commas"),
        (b"path\tgroup\n1\t2\n", r"separated by '.t', save it with commas"),
    ],
    ids=["missing", "empty", "binary", "ragged", "column", "case", "long", "twice", "semicolon", "tab"],
)
def test_a_table_that_cannot_be_used_is_told(tmp_path, content, told):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_table(tmp_path / "t.csv", "data.csv", ["path", "group"])


def test_two_that_write_one_file_leave_the_whole_text_of_one_of_them(tmp_path):
    file = tmp_path / "result.json"
    with replace_file(file) as first:
        first.write(b"first")
        with replace_file(file) as second:
            second.write(b"second")
            second.flush()
        assert file.read_text("utf-8") == "second"
    assert file.read_text("utf-8") == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_left_of_a_file_is_removed_after_a_day(tmp_path):
    old, new = tmp_path / "run[1].ckpt.1.part", tmp_path / "run[1].ckpt.2.part"
    for part, hours in ((old, 25), (new, 23)):
        part.touch()
        os.utime(part, (0, time.time() - 3600 * hours))
    with replace_file(tmp_path / "run[1].ckpt"):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "run[1].ckpt", new])


@pytest.mark.parametrize("name", ["curves.png", "curves.png.part"])
def test_a_link_in_a_folder_is_replaced_and_not_followed(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(victim)
    with replace_file(tmp_path / "run" / "curves.png") as file:
        file.write(b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "run" / "curves.png").read_text() == "new"
