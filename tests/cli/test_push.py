import json
from pathlib import Path

import pytest
from huggingface_hub import errors
from typer.testing import CliRunner

from hemai import load_run
from hemai.cli import app
from hemai.export import push as pushing
from hemai.export.folder import write_folder
from hemai.runs.saved_run import SavedRun


class Hub:
    """A hub in memory, in place of HfApi."""

    def __init__(self):
        self.repositories, self.files, self.error = {}, {}, None

    def __call__(self):
        if self.error:
            raise self.error
        return self

    def repo_exists(self, name):
        return name in self.repositories

    def create_repo(self, name, private, exist_ok):
        assert exist_ok or name not in self.repositories
        self.repositories[name] = private

    def upload_folder(self, repo_id, folder_path, commit_message):
        self.files[repo_id] = {file.name: file.read_bytes() for file in Path(folder_path).iterdir()}


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr(pushing, "HfApi", hub)
    return hub


def push(*arguments, answer=""):
    return CliRunner().invoke(app, ["push", *map(str, arguments)], input=answer, env={"COLUMNS": "200"})


def test_a_run_is_shown_then_uploaded_and_is_a_run_again(small_run, hub, tmp_path):
    done = push(small_run[0], "lab/cells", answer="y\n")
    assert done.exit_code == 0, done.output
    for shown in ("# Model card for synthetic-custom_cnn", "lab/cells (PUBLIC)", "model.safetensors", "Licence: MIT"):
        assert shown in done.stdout.split("Upload this?")[0]
    assert hub.repositories == {"lab/cells": False}
    assert set(hub.files["lab/cells"]) == {"README.md", "config.json", "model.safetensors"}
    for name, content in hub.files["lab/cells"].items():
        (tmp_path / name).write_bytes(content)
    assert load_run(tmp_path).metadata["threshold"] == load_run(small_run[0]).metadata["threshold"]
    again = push(tmp_path, "lab/again", "--yes", "--private")  # with the card that it has
    assert again.exit_code == 0 and hub.repositories["lab/again"] is True
    assert hub.files["lab/again"] == hub.files["lab/cells"]


def test_names_in_a_run_are_no_commands_of_the_terminal(small_run, hub, tmp_path):
    write_folder(SavedRun(small_run[0]), tmp_path, "# Card")
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["hemai"]["hyper_parameters"]["metadata"]["source"] = {"licence": "\x1b[2J\x9b"}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    done = push(tmp_path, "lab/cells", "--yes")
    assert done.exit_code == 0 and "licence: ?[2J?" in done.stdout


def test_without_a_yes_nothing_is_uploaded(small_run, hub):
    assert push(small_run[0], "lab/cells", answer="n\n").exit_code == 2
    assert push(small_run[0], "lab/cells").exit_code == 1  # no terminal to ask
    assert hub.repositories == {} and hub.files == {}


def test_an_existing_repository_is_replaced_only_if_asked(small_run, hub):
    hub.repositories["lab/cells"] = True
    done = push(small_run[0], "lab/cells", "--yes")
    assert done.exit_code == 2 and "already exists on the hub" in done.stderr and hub.files == {}
    assert push(small_run[0], "lab/cells", "--yes", "--overwrite").exit_code == 0 and hub.files


@pytest.mark.parametrize("name", ["cells", "lab/cells/x", "lab/c ells", "/cells", ""])
def test_a_name_that_is_none_is_refused(small_run, hub, name):
    done = push(small_run[0], name, "--yes")
    assert done.exit_code == 2 and "expected OWNER/NAME" in done.stderr


@pytest.mark.parametrize(
    "error, words",
    [
        (errors.LocalTokenNotFoundError("none"), "set HF_TOKEN"),
        (errors.HfHubHTTPError.__new__(errors.HfHubHTTPError), "the hub refuses lab/cells"),
        (ConnectionError("lost"), "the hub cannot be reached (lost)"),
    ],
)
def test_errors_of_the_hub_say_what_to_do(small_run, hub, error, words):
    hub.error = error
    done = push(small_run[0], "lab/cells", "--yes")
    assert done.exit_code == 2 and words in done.stderr
