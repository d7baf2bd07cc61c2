from pathlib import Path

import pandas as pd
import pytest

from hemai.data import CNMC, splits
from hemai.utils.errors import UserError

FOLDS = {
    "fold_0": ["UID_1_1_1_all.bmp", "UID_1_2_1_all.bmp", "UID_H1_1_1_hem.bmp"],
    "fold_1": ["UID_10_1_1_all.bmp", "UID_H10_1_1_hem.bmp"],
    "fold_2": ["UID_2_47_2_all.bmp", "UID_h3_1_1_hem.bmp"],
}
LABELS = "C-NMC_test_prelim_phase_data_labels.csv"


def test_images_and_patients_of_every_fold_are_as_published(cnmc_tree, cnmc_names):
    dataset = CNMC(cnmc_tree(cnmc_names, create=Path.touch))
    dataset.check()
    counts = dataset.counts().set_index(["fold", "label"]).drop("preliminary")
    assert len(dataset.table) == 10_661
    assert counts["images"].tolist() == counts["published_images"].tolist() == [2397, 1130, 2418, 1163, 2457, 1096]
    assert counts["groups"].tolist() == counts["published_groups"].tolist() == [19, 9, 11, 3, 17, 14]


@pytest.mark.parametrize("layout", ["tcia", "kaggle"])
def test_both_published_layouts_give_the_same_cells(cnmc_tree, layout):
    dataset = CNMC(cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp", "UID_H57_1_1_hem.bmp"], final=2, layout=layout))
    dataset.check()
    cells = dataset.table.assign(name=dataset.table["path"].str.split("/").str[-1]).set_index("name")
    assert cells.sort_values(["fold", "path"])[["label", "group", "fold"]].to_records().tolist() == [
        ("UID_1_1_1_all.bmp", "all", "1", "fold_0"),
        ("UID_1_2_1_all.bmp", "all", "1", "fold_0"),
        ("UID_H1_1_1_hem.bmp", "hem", "H1", "fold_0"),
        ("UID_10_1_1_all.bmp", "all", "10", "fold_1"),
        ("UID_H10_1_1_hem.bmp", "hem", "H10", "fold_1"),
        ("UID_2_47_2_all.bmp", "all", "2", "fold_2"),
        ("UID_h3_1_1_hem.bmp", "hem", "H3", "fold_2"),
        ("1.bmp", "all", "57", "preliminary"),
        ("2.bmp", "hem", "H57", "preliminary"),
    ]
    assert dataset.notes == ["2 numbered images without labels (final test set) are left out"]


@pytest.mark.parametrize("below", ["C-NMC_training_data/fold_0", "C-NMC_training_data", ""])
def test_root_may_lie_at_any_height_above_the_images(cnmc_tree, below):
    dataset = CNMC(cnmc_tree({"fold_0": FOLDS["fold_0"]}) / below)
    dataset.check()
    assert dataset.table["fold"].tolist() == ["fold_0"] * 3


def test_folds_may_be_nested_once_more(draw_image, tmp_path):
    for name in FOLDS["fold_0"]:
        draw_image(tmp_path / "data" / "fold_0" / "fold_0" / name[-7:-4] / name)
    dataset = CNMC(tmp_path / "data")
    dataset.check()
    assert set(dataset.table["fold"]) == {"fold_0"}
    assert len(dataset.table) == 3


@pytest.mark.parametrize(
    "name",
    [
        "UID_H10_1_1_all.bmp",
        "UID_10_1_1_hem.bmp",
        "UID_x_1_1_all.bmp",
        "UID_1_9_1.all.bmp",
        "UID_1_1_all.bmp",
        "cell.bmp",
    ],
)
def test_names_outside_the_grammar_are_refused(cnmc_tree, draw_image, name):
    root = cnmc_tree(FOLDS)
    draw_image(root / "fold_0" / name)
    with pytest.raises(UserError, match=f"UID_<patient>.*{name}"):
        CNMC(root).check()


def test_a_cell_found_twice_is_refused(cnmc_tree, draw_image):
    root = cnmc_tree(FOLDS)
    draw_image(root / "copy" / "all" / "UID_1_1_1_all.bmp")
    with pytest.raises(UserError, match=r"1 cells found twice .*UID_1_1_1_all\.bmp"):
        CNMC(root).check()


def test_an_unknown_class_folder_and_a_number_in_a_class_folder_are_refused(cnmc_tree, draw_image):
    root = cnmc_tree(FOLDS)
    draw_image(root / "fold_0" / "blasts" / "UID_9_1_1_all.bmp")
    draw_image(root / "fold_0" / "all" / "77.bmp")
    with pytest.raises(UserError, match=r"77\.bmp.*not named after their class: fold_0/blasts/UID_9_1_1_all"):
        CNMC(root).check()


def test_a_file_in_the_folder_of_the_other_class_is_refused(cnmc_tree, draw_image):
    root = cnmc_tree(FOLDS)
    draw_image(root / "fold_0" / "hem" / "UID_9_1_1_all.bmp")
    with pytest.raises(UserError, match="not named after their class: fold_0/hem/UID_9_1_1_all"):
        CNMC(root).check()


def test_a_class_without_images_is_refused(cnmc_tree):
    with pytest.raises(UserError, match=r"no image of class hem .*found \{'all': 1\}"):
        CNMC(cnmc_tree({"fold_0": ["UID_1_1_1_all.bmp"]})).check()


def test_preliminary_images_are_named_by_new_names_and_not_by_their_order(cnmc_tree):
    root = cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp", "UID_H57_1_1_hem.bmp"])
    rows = [("UID_57_1_1_all.bmp", "2.bmp", 1), ("UID_H57_1_1_hem.bmp", "1.bmp", 0)]
    pd.DataFrame(rows, columns=["Patient_ID", "new_names", "labels"]).to_csv(root / LABELS, index=False)
    table = CNMC(root).table.set_index("path")
    assert table.loc["C-NMC_test_prelim_phase_data/1.bmp", "label"] == "hem"
    assert table.loc["C-NMC_test_prelim_phase_data/2.bmp", "group"] == "57"


def test_the_preliminary_set_is_never_split(cnmc_tree):
    dataset = CNMC(cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp", "UID_H57_1_1_hem.bmp"]))
    for rule in ("group", "fold", "image"):
        split = splits.split_table(dataset.table, rule, external=dataset.external)
        assert ((split == "preliminary") == (dataset.table["fold"] == "preliminary")).all()


def test_labels_without_preliminary_images_are_a_note(cnmc_tree):
    root = cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp"])
    (root / "C-NMC_test_prelim_phase_data" / "1.bmp").unlink()
    dataset = CNMC(root)
    dataset.check()
    assert len(dataset.notes) == 1
    assert "without its images" in dataset.notes[0]


def test_missing_preliminary_images_are_counted(cnmc_tree):
    root = cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp", "UID_H57_1_1_hem.bmp"])
    (root / "C-NMC_test_prelim_phase_data" / "2.bmp").unlink()
    assert CNMC(root).notes == ["1 images of the preliminary set are missing"]


def test_final_images_do_not_take_the_labels_of_preliminary_ones(cnmc_tree):
    dataset = CNMC(cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp"], final=1))
    dataset.check()
    assert not dataset.table["path"].str.contains("final").any()


def test_a_root_called_final_keeps_its_preliminary_images(cnmc_tree, tmp_path):
    dataset = CNMC(cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp"], root=tmp_path / "final_project"))
    assert (dataset.table["fold"] == "preliminary").sum() == 1


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("Patient,new_names,labels\nUID_1_1_1_all.bmp,1.bmp,1", "no column Patient_ID"),
        ("Patient_ID,new_names,labels\nP7.bmp,1.bmp,1", "unknown names in Patient_ID: P7.bmp"),
        ("Patient_ID,new_names,labels\n,1.bmp,1", "unknown names in Patient_ID"),
        ("Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,1.bmp,0", "contradict the names.*UID_57_1_1_all"),
        ("Patient_ID,new_names,labels\nUID_H57_1_1_hem.bmp,1.bmp,1", "contradict the names"),
        ("Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,1.bmp,1\nUID_H5_1_1_hem.bmp,1.bmp,0", "1.bmp"),
        ("", "cannot read"),
    ],
    ids=["column", "name", "empty", "hem-for-all", "all-for-hem", "one-image-twice", "empty-file"],
)
def test_a_wrong_label_file_is_refused(cnmc_tree, csv, message):
    root = cnmc_tree(FOLDS, ["UID_57_1_1_all.bmp"])
    (root / LABELS).write_text(csv)
    with pytest.raises(UserError, match=message):
        CNMC(root).check()


@pytest.mark.parametrize(
    ("make", "found"), [(Path.mkdir, "contains 0 files"), (Path.touch, "a file"), (None, "nothing")]
)
def test_a_root_without_images_is_refused(tmp_path, make, found):
    if make:
        make(tmp_path / "root")
    with pytest.raises(UserError, match=f"data.root: .*{found}"):
        CNMC(tmp_path / "root")


def test_hidden_files_are_not_cells(cnmc_tree, draw_image):
    root = cnmc_tree(FOLDS)
    draw_image(root / "__MACOSX" / "all" / "UID_5_1_1_all.bmp")
    draw_image(root / "fold_0" / "all" / "._UID_1_1_1_all.bmp")
    draw_image(root / ".cache" / "UID_6_1_1_all.bmp")
    dataset = CNMC(root)
    dataset.check()
    assert len(dataset.table) == 7


def test_the_published_images_of_fold_1_are_complete(real_data):
    dataset = CNMC(real_data / "cnmc")
    dataset.check()
    counts = dataset.counts().set_index(["fold", "label"])
    assert counts.loc[("fold_1", "all"), ["images", "groups"]].tolist() == [2418, 11]
    assert counts.loc[("fold_1", "hem"), ["images", "groups"]].tolist() == [1163, 3]
