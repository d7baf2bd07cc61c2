import huggingface_hub
import pytest
from huggingface_hub import errors
from typer.testing import CliRunner

from hemai import load_run
from hemai.cli import app
from hemai.export.folder import write_folder
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError


@pytest.fixture
def hub(small_run, tmp_path, monkeypatch):
    """A hub of one model, and the arguments with which it was asked."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    write_folder(SavedRun(small_run[0]), folder, "# Card")
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return folder, asked


def test_a_run_of_the_hub_predicts_as_the_run_itself(small_run, hub, draw_image, tmp_path):
    files = [draw_image(tmp_path / f"{number}.png") for number in range(3)]
    own, other = load_run(small_run[0]), load_run("hf-hub:lab/cells")
    assert own.predict(files).equals(other.predict(files))
    done = CliRunner().invoke(app, ["predict", "hf-hub:lab/cells", str(files[0]), "--out", str(tmp_path / "a.csv")])
    assert done.exit_code == 0, done.output
    assert hub[1][0][0] == "lab/cells" and len(hub[1]) == 2  # fetched once by each run


def test_only_json_safetensors_and_the_card_are_fetched_at_the_revision(hub):
    load_run("hf-hub:lab/cells@v1.0")
    [(name, options)] = hub[1]
    assert name == "lab/cells" and options["revision"] == "v1.0"
    assert options["allow_patterns"] == ["config.json", "model.safetensors", "README.md"]


@pytest.mark.parametrize("name", ["", "cells", "a/b/c", "../../etc", "lab/", "lab/cells lab", "lab/é"])
def test_a_name_that_is_none_is_refused_without_a_network(hub, name):
    with pytest.raises(UserError, match="expected hf-hub:OWNER/NAME"):
        load_run(f"hf-hub:{name}")
    assert hub[1] == []


def test_a_model_without_weights_is_told(hub):
    (hub[0] / "model.safetensors").unlink()
    with pytest.raises(UserError, match="hf-hub:lab/cells is not a hemai model"):
        load_run("hf-hub:lab/cells")


@pytest.mark.parametrize(
    "kind, words",
    [
        ("GatedRepoError", "asks for its terms to be accepted"),
        ("RepositoryNotFoundError", "does not exist, or is private"),
        ("RevisionNotFoundError", "has no such revision"),
        ("LocalEntryNotFoundError", "no network, and it is not in the cache"),
        ("ConnectionError", "cannot be fetched"),
    ],
)
def test_errors_of_the_hub_say_what_to_do(monkeypatch, kind, words):
    known = getattr(errors, kind, None)
    error = ConnectionError("lost") if known is None else known.__new__(known)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match=f"hf-hub:lab/cells .*{words}"):
        load_run("hf-hub:lab/cells")
    done = CliRunner().invoke(app, ["predict", "hf-hub:lab/cells", ".", "--out", "never.csv"])
    assert done.exit_code == 2


def test_compare_asks_for_run_folders(hub):
    done = CliRunner().invoke(app, ["compare", "hf-hub:lab/cells"])
    assert done.exit_code == 2 and "has no test predictions" in done.stderr
