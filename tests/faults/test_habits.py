"""What users do with their folders and tables works, or is named with what to do."""

import pytest

from hemai.data import CNMC, FolderDataset, Iranian
from hemai.utils.errors import UserError

IMAGES = [f"{label}/P{number}_{label[0]}.png" for label in ("blast", "normal") for number in range(3)]


@pytest.fixture
def root(folder_tree):
    return folder_tree(IMAGES)


@pytest.fixture
def listed(root, tmp_path):
    """Open the data set with a table of all images, whose text is changed."""

    def open_listed(path=str, header="path,label,group", change=str):
        rows = [f"{path(image)},{image.split('/')[0]},{image.split('/')[1][:2]}" for image in IMAGES]
        (tmp_path / "cells.csv").write_bytes(change("\n".join([header, *rows, ""])).encode())
        dataset = FolderDataset(root, csv=tmp_path / "cells.csv")
        dataset.check()
        return dataset.table

    return open_listed


@pytest.mark.parametrize(
    "path",
    [
        lambda path: f"./{path}",
        lambda path: f"other/../{path}",
        lambda path: path.replace("/", "\\"),
        lambda path: f".\\{path}".replace("/", "\\"),
    ],
    ids=["dot", "back", "windows", "windows-dot"],
)
def test_a_listed_path_is_taken_as_it_is_below_the_root(listed, path):
    assert listed(path)["path"].tolist() == IMAGES


def test_an_absolute_path_is_taken_as_it_is_below_the_root(listed, root):
    assert listed(lambda path: root / path)["path"].tolist() == IMAGES


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(",", " ,").replace("\n", " \n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
    ],
    ids=["blanks-after", "blanks-before", "byte-order-mark", "windows-lines"],
)
def test_a_table_saved_in_another_style_is_read_the_same(listed, change):
    assert listed(change=change).equals(listed())


def test_the_same_image_under_two_spellings_is_found_twice(listed):
    with pytest.raises(UserError, match="1 paths occur twice in cells.csv: blast/P0_b.png"):
        listed(change=lambda text: text + "./blast/P0_b.png,blast,P0\n")


@pytest.mark.parametrize(
    "header, rename",
    [
        ("filename,class,patient_id", "rename filename to path, class to label, patient_id to group$"),
        ("image_path,Diagnosis,group", "rename image_path to path, Diagnosis to label$"),
        ("Path,Label,Group", "rename Path to path, Label to label, Group to group$"),
        ("path,class,group", "rename class to label$"),
    ],
)
def test_columns_under_other_names_are_told_how_to_be_named(listed, header, rename):
    with pytest.raises(UserError, match=rename):
        listed(header=header)


@pytest.mark.parametrize("header", ["path,label,Group", "path,label,patient_id", "path,label,groups"])
def test_a_column_of_groups_under_another_name_is_not_ignored(listed, header):
    with pytest.raises(UserError, match="expected group; rename it"):
        listed(header=header)


@pytest.mark.parametrize(
    "path, nearest",
    [
        (lambda path: path.split("/")[1], "P0_b.png may be blast/P0_b.png"),
        (lambda path: f"data/{path}", "data/blast/P0_b.png may be blast/P0_b.png"),
        (lambda path: f"C:\\cells\\{path}", r"C:/cells/blast/P0_b.png may be blast/P0_b.png"),
        (lambda path: path.upper(), r"BLAST/P0_B.PNG may be blast/P0_b.png"),
    ],
    ids=["bare", "above", "windows", "capitals"],
)
def test_where_a_listed_image_may_be_is_told(listed, path, nearest):
    with pytest.raises(UserError, match=f"6 paths .* not found .*; {nearest}: write each path as it is below"):
        listed(path)


def test_where_nothing_is_alike_no_path_is_suggested(listed):
    with pytest.raises(UserError, match="and 1 more$"):
        listed(lambda path: path.replace("P", "Q"))


@pytest.mark.parametrize("above", ["above", "above/far"])
def test_a_root_too_high_is_told_the_folder_of_the_classes(folder_tree, tmp_path, above):
    root = folder_tree(IMAGES, root=tmp_path / "top" / above).parents[above.count("/")]
    with pytest.raises(
        UserError, match=f"found one folder, {above}, with blast, normal; .*set data.root={root}/{above}$"
    ):
        FolderDataset(root)


def test_data_sets_side_by_side_are_not_taken_for_classes(folder_tree, tmp_path):
    root = folder_tree([f"{hospital}/{image}" for hospital in ("x", "y") for image in IMAGES])
    with pytest.raises(UserError, match="found x, y, each with blast, normal; point data.root at one of them"):
        FolderDataset(root)
    assert FolderDataset(root, classes=["x", "y"]).classes == ("x", "y")


def test_patients_in_folders_of_the_same_name_are_no_data_sets(folder_tree):
    root = folder_tree([f"{label}/P{number}/1.png" for label in ("blast", "normal") for number in range(3)])
    assert FolderDataset(root).classes == ("blast", "normal")


def test_a_root_too_low_is_told(root):
    with pytest.raises(UserError, match="outside any class folder .*if all are, point data.root at the folder above"):
        FolderDataset(root / "blast")


def test_folders_of_patients_are_not_taken_for_classes(folder_tree):
    root = folder_tree([f"P{number}/1.png" for number in range(6)])
    with pytest.raises(UserError, match="differ in their numbers alone, as patients do; point data.root at the folder"):
        FolderDataset(root)
    assert len(FolderDataset(root, classes=[f"P{number}" for number in range(6)]).classes) == 6


def test_the_folder_of_one_patient_is_no_data_set(folder_tree):
    with pytest.raises(UserError, match="found blast, expected two classes or more; .*data.root at the folder above"):
        FolderDataset(folder_tree(["blast/P1/1.png", "blast/P2/1.png"]))


def test_three_classes_that_differ_in_numbers_are_classes(folder_tree):
    assert FolderDataset(folder_tree([f"L{number}/1.png" for number in (1, 2, 3)])).classes == ("L1", "L2", "L3")


def test_one_class_of_a_published_set_is_told_to_go_up(cnmc_tree, iranian_tree, tmp_path):
    names = ["UID_1_1_1_all.bmp", "UID_H1_1_1_hem.bmp"]
    cnmc = cnmc_tree({"fold_0": names}, root=tmp_path / "cnmc")
    with pytest.raises(UserError, match="no image of class hem .*point data.root at the folder above$"):
        CNMC(next(cnmc.rglob("all"))).check()
    with pytest.raises(UserError, match="no image of class Benign, Early, Pre .*point data.root at the folder above$"):
        Iranian(iranian_tree(root=tmp_path / "iranian") / "Original" / "Pro").check()


def test_a_root_above_both_published_sets_is_told_to_go_down(cnmc_tree, iranian_tree, tmp_path):
    cnmc_tree({"fold_0": ["UID_1_1_1_all.bmp", "UID_H1_1_1_hem.bmp"]}, root=tmp_path / "data" / "cnmc")
    iranian_tree(root=tmp_path / "data" / "iranian")
    with pytest.raises(UserError, match="point data.root at C-NMC alone"):
        CNMC(tmp_path / "data").check()
    with pytest.raises(UserError, match="point data.root at one release alone"):
        Iranian(tmp_path / "data").check()


def test_files_that_systems_leave_behind_are_no_images(root, tmp_path):
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._P0_b.png"):
        (root / "blast" / name).write_bytes(b"\0")
    assert FolderDataset(root).table["path"].tolist() == IMAGES


def test_suffixes_in_capitals_and_labels_with_blanks_are_read(folder_tree):
    root = folder_tree(["B ALL/1.PNG", "not ALL/2.JPG"])
    assert FolderDataset(root).table[["path", "label"]].to_numpy().tolist() == [
        ["B ALL/1.PNG", "B ALL"],
        ["not ALL/2.JPG", "not ALL"],
    ]


@pytest.mark.parametrize("row, cells", [("blast/P0_b.png", 1), ("blast/P0_b.png,blast", 2)])
def test_a_row_that_ends_early_is_told_what_it_lacks(listed, row, cells):
    with pytest.raises(UserError, match=rf"found a row of {cells} cells \(blast/P0_b.png.*, expected 3; complete it"):
        listed(change=lambda text: text.replace("blast/P0_b.png,blast,P0", row))


def test_a_table_with_semicolons_is_told_to_use_commas(listed):
    with pytest.raises(UserError, match="separated by ';', save it with commas"):
        listed(change=lambda text: text.replace(",", ";"))
