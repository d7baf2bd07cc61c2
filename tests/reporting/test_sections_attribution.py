import pytest

from hemai.attribution import methods
from hemai.reporting.sections_attribution import attribution_section
from hemai.runs.saved_run import SavedRun


@pytest.fixture(scope="module")
def parts(small_run):
    run = SavedRun(small_run[0])
    return run.model, run.predictions(), run.data().dataset


def test_the_table_counts_the_test_images_by_predicted_class(parts):
    predictions = parts[1]
    section = attribution_section(*parts)
    [table] = section.tables
    for label in set(predictions.predicted):
        rows = table.frame[table.frame["class"] == label]
        assert rows["region"].tolist() == ["nucleus", "cytoplasm", "background"]
        assert set(rows["images"]) == {predictions.predicted.count(label)}
    assert [picture.name for picture in section.pictures] == ["attribution"]


def test_the_section_needs_no_captum_and_says_what_it_would_add(parts, monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    section = attribution_section(*parts)
    assert "pip install 'hemai[explain]'" in section.sentences[-1]
    assert section.pictures
