"""The page as HTML, in both languages."""

import base64
import io
import re

import pandas as pd
import pytest

from hemai.app.answers import Answer, Answerer
from hemai.app.texts import TEXTS
from hemai.app.uploads import Upload
from hemai.app.views import View, percent
from hemai.export.folder import write_folder
from hemai.runs.saved_run import SavedRun


@pytest.fixture(scope="module")
def view(answerer):
    return View(answerer)


def answers_of(view, uploads):
    return [answer for some in view.answerer.answer(uploads) for answer in some]


@pytest.mark.parametrize("language", TEXTS)
def test_the_header_warns_and_names_network_data_and_classes(view, language):
    header = view.header(language)
    assert ("Not a medical device" in header) if language == "en" else ("dispositif médical" in header)
    for word in ("custom_cnn", "synthetic", "all, hem"):
        assert word in header


@pytest.mark.parametrize("language", TEXTS)
def test_results_and_details_show_every_answer(view, smear, cells, upload, language):
    uploads = [upload(cells[0]), Upload("smear.png", smear), Upload("a.pdf", b"%PDF")]
    answers = answers_of(view, uploads)
    results = view.results(language, answers, 0)
    assert results.count("<li>") == 8
    assert TEXTS[language]["is_pdf"] in results.replace("&#39;", "'")
    details = view.details(language, answers, 3)
    assert details.count("<rect") == 6
    assert len(re.findall(r'src="data:image/jpeg;base64,', details)) == 6  # image, attribution, four of segmentation
    assert view.details(language, answers, None) == view.details(language, answers, 7) == ""


def test_the_table_to_download_is_that_of_the_answers(view, cells, upload):
    answers = answers_of(view, [upload(file) for file in cells[:3]])
    link = re.search(r"base64,([\w+/=]+)\">Download", view.results("en", answers, 0)).group(1)
    table = pd.read_csv(io.BytesIO(base64.b64decode(link)))
    assert table["path"].tolist() == [file.name for file in cells[:3]]
    assert table["probability/all"].tolist() == pytest.approx([a.values["probability/all"] for a in answers])


def test_a_file_name_stays_text(view, cells):
    name = "<img src=x onerror=alert(1)>.png"
    answers = answers_of(view, [Upload(name, cells[0].read_bytes()), Upload(name, b"")])
    page = view.results("en", answers, 0) + view.details("en", answers, 0)
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_class_and_verdict_agree_and_a_conflict_with_the_most_probable_class_is_told(view):
    values = {"predicted": "all", "malignant": "yes", "malignant_at_threshold": "no"}
    below = Answer(Upload("a", b""), values)
    above = Answer(Upload("a", b""), {"predicted": "hem", "malignant": "no", "malignant_at_threshold": "yes"})
    assert (view.label(below), view.conflict(below)) == ("hem", "below_threshold")
    assert (view.label(above), view.conflict(above)) == ("all", "above_threshold")
    agreed = Answer(Upload("a", b""), {"predicted": "all", "malignant_at_threshold": "yes"})
    assert (view.label(agreed), view.conflict(agreed)) == ("all", "")


def test_the_card_of_the_run_is_shown_without_the_fields_of_the_hub(view):
    card = view.card("en")
    assert "# Model card" in card
    assert "library_name" not in card


def test_the_card_of_an_exported_folder_is_shown(run_folder, tmp_path):
    write_folder(SavedRun(run_folder), tmp_path, "---\nlicense: mit\n---\n# Card of the export")
    assert View(Answerer([SavedRun(tmp_path)])).card("en") == "# Card of the export"


@pytest.mark.parametrize(
    ("share", "english", "french"),
    [(0.5, "50.0 %", "50,0 %"), (0.99999, "99.9 %", "99,9 %"), (1e-9, "0.1 %", "0,1 %"), (1.0, "100 %", "100 %")],
)
def test_a_probability_is_never_rounded_to_certainty(share, english, french):
    assert percent(share, "en").replace("\N{NO-BREAK SPACE}", " ") == english
    assert percent(share, "fr").replace("\N{NO-BREAK SPACE}", " ") == french
