import pandas as pd
import pytest

from hemai.data import FolderDataset
from hemai.utils.errors import UserError

PATHS = ["blast/P1_1.png", "blast/P1_2.jpg", "blast/deep/P2_1.bmp", "normal/P3_1.tif", "normal/P4_1.webp"]


@pytest.fixture
def root(folder_tree):
    return folder_tree(PATHS)


@pytest.fixture
def csv(root, tmp_path):
    """Write a csv file of these rows, and open the data set with it."""

    def write(rows, columns, **options):
        pd.DataFrame(rows, columns=columns.split()).to_csv(tmp_path / "cells.csv", index=False)
        return FolderDataset(root, csv=tmp_path / "cells.csv", **options)

    return write


def test_classes_are_the_folder_names_sorted(root):
    dataset = FolderDataset(root)
    dataset.check()
    assert dataset.classes == ("blast", "normal")
    assert dict(zip(dataset.table["path"], dataset.table["label"], strict=True)) == {
        path: path.split("/")[0] for path in PATHS
    }


def test_given_classes_keep_their_order(root):
    assert FolderDataset(root, classes=["normal", "blast"]).classes == ("normal", "blast")


def test_a_given_class_without_folder_is_refused(root):
    with pytest.raises(UserError, match="no image of class reactive"):
        FolderDataset(root, classes=["normal", "blast", "reactive"]).check()


def test_a_folder_that_is_no_given_class_gets_the_nearest_name(root):
    with pytest.raises(UserError, match="unknown class 'blast'; did you mean 'blasts'"):
        FolderDataset(root, classes=["normal", "blasts"]).check()


def test_a_class_given_twice_is_refused(root):
    with pytest.raises(UserError, match="blast"):
        FolderDataset(root, classes=["normal", "blast", "blast"]).check()


def test_positive_classes_must_be_classes(root):
    assert FolderDataset(root, positive=["blast"]).positive == ("blast",)
    with pytest.raises(UserError, match=r"data.positive: unknown class 'blats'; did you mean 'blast'"):
        FolderDataset(root, positive=["blats"])


def test_one_class_alone_is_refused(folder_tree):
    with pytest.raises(UserError, match="found blast, expected two classes"):
        FolderDataset(folder_tree(["blast/1.png"]))


def test_images_outside_a_class_folder_are_refused(root, draw_image):
    draw_image(root / "loose.png")
    with pytest.raises(UserError, match=r"1 images outside any class folder.*loose\.png"):
        FolderDataset(root).check()


@pytest.mark.parametrize("pattern", [r"P(\d+)_", r"(x)?P(?P<group>\d+)_", r"/P(\d+)_(\d+)"])
def test_the_group_is_the_part_called_group_or_else_the_first(root, pattern):
    dataset = FolderDataset(root, pattern=pattern)
    dataset.check()
    assert dataset.table["group"].tolist() == ["1", "1", "2", "3", "4"]
    assert dataset.group_kind == "patient"


def test_without_pattern_every_image_is_its_own_group_and_the_run_says_so(root):
    dataset = FolderDataset(root)
    assert dataset.table["group"].is_unique
    assert dataset.group_kind == "image"
    assert any("every image is its own group" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"P\d+_", "no part in parentheses"),
        (r"P(?:\d+)_", "no part in parentheses"),
        (r"P(\d+_", "not a valid regular expression"),
        (r"P([12])_", r"2 names in which .* finds no group: normal/P3_1\.tif, normal/P4_1\.webp"),
        (r"P\d+_(9)?", "5 names in which .* finds no group"),
        (r"patient(\d+)", r"5 names in which .*patient\(.* finds no group"),
    ],
)
def test_a_pattern_that_finds_no_group_is_refused(root, pattern, message):
    with pytest.raises(UserError, match=message):
        FolderDataset(root, pattern=pattern, classes=["blast", "normal"]).check()


def test_a_pattern_that_finds_nothing_is_named_even_without_classes(root):
    with pytest.raises(UserError, match=r"data.pattern"):
        FolderDataset(root, pattern=r"patient(\d+)").check()


def test_a_csv_gives_labels_groups_and_folds(csv):
    dataset = csv([(PATHS[0], "a", "p", "x"), (PATHS[3], "b", "q", "y")], "path label group fold")
    dataset.check()
    assert dataset.group_kind == "patient"
    assert dataset.table.to_records(index=False).tolist() == [(PATHS[0], "a", "p", "x"), (PATHS[3], "b", "q", "y")]


def test_a_csv_without_groups_makes_every_image_its_own(csv):
    dataset = csv([(PATHS[0], "a"), (PATHS[3], "b")], "path label")
    dataset.check()
    assert dataset.group_kind == "image"
    assert dataset.table["group"].tolist() == [PATHS[0], PATHS[3]]
    assert dataset.table["fold"].tolist() == ["", ""]


def test_a_csv_without_groups_takes_them_from_the_pattern(csv):
    dataset = csv([(PATHS[0], "a"), (PATHS[3], "b")], "path label", pattern=r"P(\d+)_")
    dataset.check()
    assert dataset.group_kind == "patient"
    assert dataset.table["group"].tolist() == ["1", "3"]


def test_labels_that_look_like_numbers_or_missing_values_stay_text(csv):
    dataset = csv([(PATHS[0], "NA"), (PATHS[1], "007")], "path label")
    assert dataset.classes == ("007", "NA")


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([(PATHS[0], "a"), (PATHS[1], "b")], "file label", "no column path; found file, label"),
        ([(PATHS[0], "a"), (PATHS[1], "b")], "path class", "no column label"),
        ([(PATHS[0], "a"), ("blast/P9.png", "b")], "path label", r"1 paths of cells\.csv not found in.*P9\.png"),
        ([(PATHS[0], "a"), (PATHS[0], "b")], "path label", r"1 paths occur twice in cells\.csv"),
        ([(PATHS[0], "a", "p"), (PATHS[1], "b", "")], "path label group", "1 rows of cells.csv have no group"),
        ([(PATHS[0], "a"), (PATHS[1], "b"), (PATHS[2], "")], "path label", "no label"),
    ],
    ids=["no-path", "no-label", "wrong-path", "twice", "empty-group", "empty-label"],
)
def test_a_wrong_csv_is_refused(csv, rows, columns, message):
    with pytest.raises(UserError, match=message):
        csv(rows, columns).check()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00path"], ids=["missing", "empty", "binary"])
def test_a_csv_that_cannot_be_read_is_named(root, tmp_path, content):
    if content is not None:
        (tmp_path / "cells.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.csv: cannot read .*cells\.csv"):
        FolderDataset(root, csv=tmp_path / "cells.csv")


def test_a_root_with_brackets_and_accents_is_read(folder_tree, tmp_path):
    root = folder_tree(["[a] é/1.png", "b (2)/1.png"], root=tmp_path / "Données [ALL]")
    dataset = FolderDataset(root)
    dataset.check()
    assert dataset.classes == ("[a] é", "b (2)")


@pytest.mark.parametrize("name", ["train", "valid", "Test"])
def test_folders_of_splits_are_not_taken_for_classes(folder_tree, name):
    root = folder_tree([f"{name}/blast/P1.png", "other/blast/P2.png"])
    with pytest.raises(UserError, match=f"found the folders {name}, .*point data.root at one of them"):
        FolderDataset(root)
    assert FolderDataset(root, classes=[name, "other"]).classes == (name, "other")


@pytest.mark.parametrize("root", [None, "", 3])
def test_no_root_is_told(root):
    with pytest.raises(UserError, match=f"root={root!r}: expected the folder of the images"):
        FolderDataset(root)


def test_a_missing_root_is_told_in_plain_words(tmp_path):
    with pytest.raises(UserError, match="expected the folder of the images$"):
        FolderDataset(tmp_path / "none")


@pytest.mark.parametrize("name", ["patient_id", "Patient", "subject-ID"])
def test_a_column_of_patients_under_another_name_is_not_ignored(csv, name):
    with pytest.raises(UserError, match=f"found the column {name}, expected group"):
        csv([(PATHS[0], "a", "p"), (PATHS[3], "b", "q")], f"path label {name}")
