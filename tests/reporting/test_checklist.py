import json
import re
import shutil

import pandas as pd
import pytest

from hemai.reporting.checklist import FACTS, FOR_THE_AUTHOR, GUIDELINES, report_checklist
from hemai.reporting.checklist import FOLDER as CHECKLISTS
from hemai.utils.errors import UserError

# Number of the last item, and number of rows with those of parts a, b, c, as published.
PUBLISHED = {"claim": (44, 44), "tripod": (27, 52), "stard": (40, 48)}


def items(name):
    return pd.read_csv(CHECKLISTS / f"{name}.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", GUIDELINES)
def test_a_checklist_has_the_items_of_its_guideline_in_order(name):
    table = items(name)
    numbers = [int(re.match(r"\d+", item)[0]) for item in table["item"]]
    last, rows = PUBLISHED[name]
    assert list(dict.fromkeys(numbers)) == list(range(1, last + 1))
    assert len(table) == rows == table["item"].nunique()
    assert (table["topic"] != "").all()


def test_every_fact_belongs_to_an_item_and_every_item_names_facts_that_exist():
    used = {key for name in GUIDELINES for facts in items(name)["facts"] for key in facts.split()}
    assert used == set(FACTS)


@pytest.fixture(scope="module")
def folder(small_run, tmp_path_factory):
    copy = tmp_path_factory.mktemp("checklist") / "run"
    shutil.copytree(small_run[0], copy)
    return copy


def filled(folder, name):
    report_checklist(folder, name)
    written = pd.read_csv(folder / f"checklist_{name}.csv", dtype=str, keep_default_na=False)
    return written.set_index("item")


def test_what_a_run_knows_is_taken_from_its_results_and_the_rest_is_for_the_author(folder, capsys):
    result = json.loads((folder / "result.json").read_text())
    told = filled(folder, "claim")
    assert f"AUROC {result['test/auroc']:.4f}" in told["known"]["38"]
    assert f"recall at the threshold {result['test_at_threshold/recall']:.4f}" in told["known"]["38"]
    assert f"{result['test/images']} images of {result['test/groups']} patients" in told["known"]["21"]
    assert f"{result['parameters']:,} parameters" in told["known"]["22"] and "Data and split" in told["where"]["22"]
    for item in ("4", "11", "15", "33", "34", "44"):  # hypotheses, anonymity, external test, trial, funding
        assert told["known"][item] == FOR_THE_AUTHOR and told["where"][item] == ""
    left = (told["known"] == FOR_THE_AUTHOR).sum()
    assert f"{len(told) - left} of 44 items" in capsys.readouterr().out


def test_the_page_lists_every_item(folder):
    told = filled(folder, "stard")
    page = (folder / "checklist_stard.html").read_text()
    assert all(f'<td class="text">{item}. ' in page for item in told.index)
    assert GUIDELINES["stard"].source in page


def test_where_the_report_is_named_it_has_such_a_section(folder):
    headings = set(re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.M))
    for name in GUIDELINES:
        for where in filled(folder, name)["where"]:
            named = [part.removeprefix("report: ") for part in where.split("; ") if part.startswith("report: ")]
            assert {section.split(" (")[0] for section in named} <= headings


def test_a_card_and_a_run_of_an_earlier_version_change_what_is_known(folder, tmp_path):
    assert "scanner" not in filled(folder, "claim")["known"]["13"]
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    provenance = json.loads((copy / "provenance.json").read_text())
    provenance["card"]["scanner"] = "Olympus"
    (copy / "provenance.json").write_text(json.dumps(provenance))
    assert "scanner: Olympus" in filled(copy, "claim")["known"]["13"]
    (copy / "provenance.json").unlink()
    assert filled(copy, "claim")["known"]["12"] == FOR_THE_AUTHOR  # what was left out was not recorded


def test_an_unknown_checklist_is_refused(folder):
    with pytest.raises(UserError, match="did you mean 'tripod'.*expected claim, tripod, stard"):
        report_checklist(folder, "tripod+ai")
