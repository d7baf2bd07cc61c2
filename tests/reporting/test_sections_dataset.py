import json

from hemai.data.card import FIELDS
from hemai.data.folder import FolderDataset
from hemai.reporting.sections_dataset import dataset_sections
from hemai.runs.saved_run import SavedRun


def card_section(dataset, small_run):
    [section] = dataset_sections(dataset, [SavedRun(small_run[0])])
    return section.sentences, dict(section.tables[0].frame.itertuples(index=False))


def test_every_field_is_listed_with_its_text_or_as_not_recorded(small_run, folder_tree):
    root = folder_tree(["a/1.png", "b/1.png"])
    (root / "card.yaml").write_text("stain: Giemsa\nreference_standard: flow cytometry\n")
    sentences, told = card_section(FolderDataset(root), small_run)
    assert told["stain"] == "Giemsa" and told["reference standard"] == "flow cytometry"
    assert len(told) == len(FIELDS) and list(told.values()).count("not recorded") == len(FIELDS) - 2
    assert sentences[0].startswith(f"{len(FIELDS) - 2} of {len(FIELDS)} fields are not recorded")


def test_a_complete_card_needs_no_advice(small_run, folder_tree):
    root = folder_tree(["a/1.png", "b/1.png"])
    (root / "card.yaml").write_text("".join(f"{field}: known\n" for field in FIELDS))
    assert not card_section(FolderDataset(root), small_run)[0]


def test_without_the_images_the_card_is_that_of_the_start_of_the_run(small_run):
    recorded = json.loads((small_run[0] / "provenance.json").read_text())["card"]
    assert recorded["reference_standard"] == "the class that was drawn"
    assert card_section(None, small_run)[1]["reference standard"] == recorded["reference_standard"]


def test_a_file_of_predictions_has_no_card():
    assert dataset_sections(None, []) == []
