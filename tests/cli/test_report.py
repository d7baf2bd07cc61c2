import base64
import json
import re
import shutil

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from matplotlib.figure import Figure
from typer.testing import CliRunner

from hemai.cli import app
from hemai.evaluation.metrics import MAIN
from hemai.reporting.document import Section, Table, write_report
from hemai.utils.pictures import render
from tests.small_run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, train(f"run_dir={folder}", "report=true", "data.cells=240", "data.patients=16")


def rows(text):
    """Cells of the tables of Markdown, by the first cell; of several rows the first."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in reversed(cells)}


def test_training_ends_with_a_page_that_needs_no_other_file(run):
    page = (run[0] / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses and all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\(", re.sub(r'src="[^"]*"', "", page))
    assert "not a medical device" in page
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[:2] == ["Summary", "Results"]
    ends = {
        "Flow of images",
        "Training curves",
        "Per-patient results",
        "Most confident errors",
        "Shortcut baselines",
        "Reproduce this run",
    }
    assert {"Data and split", "Decision threshold", "Calibration", *ends} <= set(headings)
    pictures = re.findall(r'<figure.*?><img src="data:image/png;base64,.*?<figcaption>(.*?)</figcaption>', page)
    assert len(pictures) == 12 and all(pictures)


def test_its_markdown_twin_has_the_figures_of_the_run_and_pictures_that_are_there(run):
    folder, result = run
    text = (folder / "report.md").read_text()
    told = rows(text)
    for name in ("accuracy", "recall", "specificity", "auroc", "loss"):
        assert told[name][0] == f"{result[f'test/{name}']:.4f}"
        low, high = result[f"test/{name}/low"], result[f"test/{name}/high"]
        assert told[name][1] == ("not defined" if low is None else f"{low:.3f} to {high:.3f}")
    assert told["recall at t"][0] == f"{result['test_at_threshold/recall']:.4f}"
    gain = float(told["this model"][1].split()[0]) - float(told["cell area"][1].split()[0])
    assert float(told["auroc less that of the cell area"][0]) == pytest.approx(gain, abs=1e-4)
    assert told["this model"][1].startswith(told["auroc"][0])
    assert told["test"][-1] == f"{result['test/images']} / {result['test/groups']}"
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 12
    assert all((folder / picture).is_file() for picture in pictures)


def test_the_model_card_is_read_by_the_hub_and_has_the_figures_of_the_run(run):
    folder, result = run
    card = ModelCard.load(folder / "model_card.md")
    found = {figure.metric_name: figure.metric_value for figure in card.data.eval_results}
    assert found == {name: pytest.approx(result[f"test/{name}"], abs=5e-5) for name in found}
    assert set(MAIN) == set(found)
    for heading in ("Uses", "Bias, risks, and limitations", "Training data", "Results"):
        assert re.search(f"^##+ {heading}", card.text, re.M)


def test_without_its_images_a_run_is_still_reported(run, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(run[0], folder)
    config = folder / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("root: null", f"root: {tmp_path / 'nowhere'}"))
    config.write_text(config.read_text().replace("hemai.data.Synthetic", "hemai.data.CNMC"))
    (folder / "report.html").unlink()
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    page = (folder / "report.html").read_text()
    assert "Omitted: pictures of errors and shortcut baselines" in page
    assert "<h2>Shortcut baselines</h2>" not in page


def test_a_patient_of_the_test_that_was_trained_on_is_the_first_thing_said(run, tmp_path):
    folder = tmp_path / "leaky"
    shutil.copytree(run[0], folder)
    splits = pd.read_csv(folder / "splits.csv")
    tested = splits[splits["split"] == "test"].head(1).assign(split="train")
    pd.concat([splits, tested]).to_csv(folder / "splits.csv", index=False)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    text = (folder / "report.md").read_text()
    assert text.count("**WARNING, leakage: 1 ") == 3  # of the summary, the metrics and the training
    assert "WARNING, leakage: 1 " in (folder / "model_card.md").read_text()
    assert text.split("## Summary")[1].strip().startswith("**WARNING, leakage: 1 ")


def test_pictures_of_training_are_taken_as_they_are_and_drawn_where_they_are_missing(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    figures = {
        name: folder / "figures" / f"{name}.png" for name in ("curves", "confusion_matrix_test", "mistakes_test")
    }
    mark = render("mark", Figure(figsize=(1, 1))).png
    figures["curves"].write_bytes(mark)
    for name in ("confusion_matrix_test", "mistakes_test"):
        figures[name].unlink()
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    page = (folder / "report.html").read_text()
    assert figures["curves"].read_bytes() == mark
    assert all(base64.b64encode(file.read_bytes()).decode() in page for file in figures.values())
    before = run[0] / "figures" / "confusion_matrix_test.png"
    assert figures["confusion_matrix_test"].read_bytes() == before.read_bytes()


def test_a_picture_that_is_none_or_lies_elsewhere_is_drawn_anew(run, tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "private.png"
    shutil.copytree(run[0], folder)
    private = render("mark", Figure(figsize=(1, 1))).png
    elsewhere.write_bytes(private)
    (folder / "figures" / "curves.png").unlink()
    (folder / "figures" / "curves.png").symlink_to(elsewhere)
    whole = (folder / "figures" / "mistakes_test.png").read_bytes()
    (folder / "figures" / "mistakes_test.png").write_bytes(whole[:100])
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    assert base64.b64encode(private).decode() not in (folder / "report.html").read_text()
    assert elsewhere.read_bytes() == private
    assert len((folder / "figures" / "mistakes_test.png").read_bytes()) > 100


def test_the_terminal_shows_the_brief_sections_of_the_report(run, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(run[0]), "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    told = rows((tmp_path / "out" / "report.md").read_text())
    lines = [line.split() for line in done.stdout.splitlines()]
    for name in ("accuracy", "auroc", "ece"):  # tables of two sections
        assert [name, *" ".join(told[name]).split()] in lines
    headings = [line for line in done.stdout.splitlines() if f"## {line}" in (run[0] / "report.md").read_text()]
    assert [heading for heading in headings if heading] == [
        "Results", "Decision threshold", "Calibration", "Per-patient results",
    ]  # fmt: skip


def test_names_that_look_like_code_are_shown_as_they_are(tmp_path):
    table = pd.DataFrame([["<b>|$x$", "1"]], columns=["class", "images"])
    write_report(tmp_path, "A & B", [Section("S", ["<script>"], [Table(table)])])
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;" in page and "A &amp; B" in page and ">&lt;b&gt;|$x$</td>" in page
    assert "| &lt;b>\\|$x$ | 1 |" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    "content, told",
    [(None, "expected the folder of a finished run"), ("predictions_test.csv", "no checkpoint at")],
)
def test_a_folder_without_a_run_is_told(tmp_path, content, told):
    if content:
        (tmp_path / content).write_text("")
    done = CliRunner().invoke(app, ["report", str(tmp_path if content else tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_result_and_predictions_are_left_as_training_wrote_them(run):
    assert json.loads((run[0] / "result.json").read_text())["test/accuracy"] == run[1]["test/accuracy"]
