import shutil

import pytest

from hemai.data import Iranian
from hemai.utils.errors import UserError


@pytest.mark.parametrize(
    ("version", "citation", "published"),
    [("small", "Ghaderzadeh", [504, 985, 963, 804]), ("large", "Hosseini", [512, 979, 955, 796])],
)
def test_the_published_version_is_recognised_by_its_files(iranian_tree, version, citation, published):
    dataset = Iranian(iranian_tree(version))
    dataset.check()
    counts = dataset.counts()
    assert dataset.citation.startswith(citation)
    assert counts["label"].tolist() == ["Benign", "Early", "Pre", "Pro"]
    assert counts["published_images"].tolist() == published
    assert counts["images"].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("version", ["small", "large"])
def test_blocks_hold_25_consecutive_numbers_of_one_class(iranian_tree, version):
    table = Iranian(iranian_tree(version, numbers=[1, 25, 26, 50, 51])).table
    numbers = table["path"].str.extract(r"(\d+)\.jpg")[0].astype(int)
    for label in ("Benign", "Early", "Pre", "Pro"):
        of_label = table["label"] == label
        blocks = [set(numbers[rows]) for _, rows in table[of_label].groupby("group").groups.items()]
        assert sorted(blocks, key=min) == [{1, 25}, {26, 50}, {51}]
    assert (table.groupby("group")["label"].nunique() == 1).all()


def test_merged_series_of_one_folder_are_blocks_of_their_own(iranian_tree, draw_image):
    root = iranian_tree("large")
    for name in ("Snap_001 (3).jpg", "Snap_002(3).jpg", "Sap_013 (2).jpg"):
        draw_image(root / "Blood cell Cancer [ALL]" / "[Malignant] Pro-B" / name)
    dataset = Iranian(root)
    dataset.check()
    pro = dataset.table[dataset.table["label"] == "Pro"]
    names = pro["path"].str.split("/").str[-1]
    blocks = {frozenset(names[rows]) for _, rows in pro.groupby("group").groups.items()}
    assert blocks == {
        frozenset({"Snap_001.jpg", "Snap_002.jpg"}),
        frozenset({"Snap_001 (3).jpg", "Snap_002(3).jpg"}),
        frozenset({"Sap_013 (2).jpg"}),
    }


def test_early_pre_b_is_not_pre_b(iranian_tree):
    table = Iranian(iranian_tree("large")).table
    folders = table["path"].str.split("/").str[-2]
    assert set(table["label"][folders == "[Malignant] early Pre-B"]) == {"Early"}
    assert set(table["label"][folders == "[Malignant] Pre-B"]) == {"Pre"}


def test_segmented_twins_are_left_out(iranian_tree):
    root = iranian_tree("small")
    shutil.copytree(root / "Original", root / "Segmented")
    dataset = Iranian(root)
    dataset.check()
    assert len(dataset.table) == 8
    assert dataset.table["path"].str.startswith("Original/").all()
    assert dataset.notes == ["8 images in Segmented/, not originals, are left out"]


@pytest.mark.parametrize("below", ["", "Segmented"])
def test_segmented_twins_alone_are_refused(iranian_tree, below):
    root = iranian_tree("small")
    (root / "Original").rename(root / "Segmented")
    with pytest.raises(UserError, match="only Segmented/"):
        Iranian(root / below)


def test_both_versions_under_one_root_are_refused(iranian_tree):
    iranian_tree("small")
    with pytest.raises(UserError, match="both releases"):
        Iranian(iranian_tree("large"))


def test_an_unknown_class_folder_gets_the_nearest_name(iranian_tree):
    root = iranian_tree("large")
    folder = root / "Blood cell Cancer [ALL]"
    (folder / "[Malignant] Pro-B").rename(folder / "[Malignant] ProB")
    with pytest.raises(UserError, match=r"'\[Malignant\] ProB'; did you mean '\[Malignant\] Pro-B'\?"):
        Iranian(root).check()


def test_a_name_outside_the_grammar_is_refused(iranian_tree, draw_image):
    root = iranian_tree("small")
    draw_image(root / "Original" / "Pre" / "IMG_7.jpg")
    with pytest.raises(UserError, match=r"1 names of neither release.*Original/Pre/IMG_7\.jpg"):
        Iranian(root).check()


def test_a_name_that_contradicts_its_folder_is_refused(iranian_tree, draw_image):
    root = iranian_tree("small")
    draw_image(root / "Original" / "Pre" / "WBC-Malignant-Early-077.jpg")
    with pytest.raises(UserError, match="WBC-Malignant-Early-077"):
        Iranian(root).check()


def test_an_image_found_twice_is_refused(iranian_tree):
    root = iranian_tree("small")
    shutil.copytree(root / "Original", root / "copy")
    with pytest.raises(UserError, match="twice"):
        Iranian(root).check()


def test_one_class_alone_is_refused(iranian_tree):
    dataset = Iranian(iranian_tree("small") / "Original" / "Pre")
    with pytest.raises(UserError, match="no image of class Benign, Early, Pro"):
        dataset.check()


def test_groups_are_called_blocks():
    assert Iranian.group_kind == "block"


def test_the_published_images_are_complete(real_data):
    dataset = Iranian(real_data / "iranian")
    dataset.check()
    assert dataset.counts()["images"].tolist() == [504, 985, 963, 804]
