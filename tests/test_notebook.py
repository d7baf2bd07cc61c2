"""The notebook of examples/, from a folder of cells to a report."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_steps.ipynb"


def outputs(cell):
    """Kinds of output of a cell, such as text/html."""
    return {kind for output in cell.get("outputs", ()) for kind in output.get("data", ())}


@pytest.fixture(scope="module")
def by_code(tmp_path_factory):
    """Every cell of the notebook after it ran with few images, by its code."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("Synthetic()", "Synthetic(cells=120, patients=12)")
        cell.source = cell.source.replace("max_epochs=8", "max_epochs=1")
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "run" / "report.html").is_file()
    return {cell.source: cell for cell in notebook.cells}


def test_images_are_shown(by_code):
    shown = next(cell for code, cell in by_code.items() if code.endswith("cells.show(12)"))
    assert "image/png" in outputs(shown)


def test_an_evaluation_and_a_run_show_themselves(by_code):
    evaluation = next(cell for code, cell in by_code.items() if code.endswith("\nresult"))
    assert "text/html" in outputs(evaluation)
    assert "Reproduce this run" in by_code["run"].outputs[0].data["text/html"]


def test_a_training_prints_lines_that_a_notebook_can_show(by_code):
    training = next(cell for code, cell in by_code.items() if code.startswith("run = train("))
    text = "".join(output.get("text", "") for output in training.outputs)
    assert "epoch 1/1" in text and "\x1b" not in text


def test_the_notebook_is_kept_without_output():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
