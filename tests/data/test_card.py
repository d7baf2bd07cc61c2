import pytest

from hemai.data.card import FIELDS, missing_fields, read_card
from hemai.data.cnmc import CNMC
from hemai.data.folder import FolderDataset
from hemai.utils.errors import UserError


def test_a_card_is_text_as_it_is_written(tmp_path):
    (tmp_path / "card.yaml").write_text("dates: 2019-01-01\nsex: no\ncentres: [Delhi, Tehran]\nage:\n")
    assert read_card(tmp_path) == {"dates": "2019-01-01", "sex": "no", "centres": "Delhi, Tehran"}


def test_without_a_card_nothing_is_recorded(tmp_path):
    assert read_card(tmp_path) == {}
    assert missing_fields({}) == list(FIELDS)


@pytest.mark.parametrize(
    "text, message",
    [
        ("stian: Giemsa", "unknown field stian; did you mean 'stain'"),
        ("- stain", "expected lines 'field: text'"),
        ("stain: {a: b}", "stain: expected a text or a list of texts"),
        ("stain: [", "cannot read"),
    ],
)
def test_a_card_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_card(tmp_path)


def test_a_file_adds_to_what_is_published_of_a_data_set(cnmc_tree):
    root = cnmc_tree({"fold_0": ["UID_1_1_1_all.bmp", "UID_H1_1_1_hem.bmp"]})
    (root / "card.yaml").write_text("stain: Giemsa\nage: 2 to 17\n")
    card = CNMC(root).card
    assert (card["stain"], card["age"]) == ("Giemsa", "2 to 17")
    assert card["subtype"] == CNMC.card["subtype"] and "age" not in CNMC.card


def test_the_card_is_no_image_of_a_folder(folder_tree):
    root = folder_tree(["a/1.png", "b/1.png"])
    (root / "card.yaml").write_text("age: adults")
    dataset = FolderDataset(root)
    assert len(dataset) == 2 and dataset.card == {"age": "adults"} and not dataset.problems
