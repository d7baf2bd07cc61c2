"""A run folder or a checkpoint from a stranger is data: what it names is not run."""

import shutil
import sys

import pytest
import torch
from typer.testing import CliRunner

from hemai.cli import app
from hemai.runs.saved_run import SavedRun
from tests.small_run import SMALL, train
from tests.strange_code import edit, write_strange_code

DATA = SMALL[:3]
VERBS = ("report", "evaluate", "predict", "audit")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(f"run_dir={folder}", "trainer.max_epochs=1", "plots=true")
    return folder


@pytest.fixture
def stranger(run, tmp_path):
    return shutil.copytree(run, tmp_path / "stranger")


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """Is there once a stranger's code ran."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield write_strange_code(tmp_path)
    sys.modules.pop("strange_module", None)


def edit_checkpoint(folder, change):
    for file in (folder / "checkpoints").glob("*.ckpt"):
        content = torch.load(file, weights_only=True)
        change(content["hyper_parameters"])
        torch.save(content, file)


def call(verb, folder, out, *more):
    arguments = {
        "report": [folder],
        "evaluate": [folder, "--out", out],
        "predict": [folder, folder / "figures", "--out", out / "calls.csv"],
        "audit": ["--run", folder, *DATA],
    }[verb]
    return CliRunner().invoke(app, [verb, *map(str, arguments), *more])


def assert_refused(verb, folder, out, name, marker):
    before = sorted(folder.rglob("*"))
    done = call(verb, folder, out)
    assert done.exit_code == 2, done.output
    assert name in done.stderr and "--trust" in done.stderr, done.stderr
    assert not marker.exists()
    assert sorted(folder.rglob("*")) == before and not out.exists()


def payloads(tmp_path, marker):
    """Settings that run code -> the name by which they are refused."""
    pickled, data = str(tmp_path / "payload.pkl"), "hemai.data.CellDataModule"
    return {
        "pandas.read_pickle": {"transform": {"_target_": "pandas.read_pickle", "filepath_or_buffer": pickled}},
        "joblib.load": {"transform": {"_target_": "joblib.load", "filename": pickled}},
        "torch.load": {"transform": {"_target_": "torch.load", "f": pickled, "weights_only": False}},
        "subprocess.Popen": {
            "data": {"_target_": data, "dataset": "subprocess.Popen", "root": f"mkdir {marker}", "shell": True}
        },
        "strange_module.Smears": {"data": {"_target_": data, "dataset": "strange_module.Smears", "root": None}},
        "strange_module": {"data": {"_target_": data, "dataset": "strange_module", "root": None}},
        "strange_module.Recipe": {"callbacks": [{"deep": [{"_target_": "strange_module.Recipe"}]}]},
        "strange_module.resnet10t": {"model": {"backbone": "strange_module.resnet10t"}},
        "_args_": {"data": {"_target_": data, "_args_": ["strange_module.Smears"]}},
    }


@pytest.mark.parametrize("verb", VERBS)
def test_settings_that_name_code_are_refused_before_anything_is_imported(run, stranger, tmp_path, marker, verb):
    for name, changes in payloads(tmp_path, marker).items():
        shutil.copy(run / ".hydra" / "config.yaml", stranger / ".hydra")
        edit(stranger, lambda settings, changes=changes: settings | changes)
        assert_refused(verb, stranger, tmp_path / "out", name, marker)


def test_code_of_a_stranger_runs_for_the_user_who_trusts_it(stranger, tmp_path, marker):
    edit(stranger, lambda settings: settings | payloads(tmp_path, marker)["strange_module.Recipe"])
    edit_checkpoint(stranger, lambda h: h.update(backbone="strange_module.resnet10t", options=None))
    done = call("predict", stranger, tmp_path / "out", "--trust")
    assert done.exit_code == 2 and "does not fit its network" in done.stderr  # the weights are of custom_cnn
    assert marker.exists()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda h: h.update(backbone="strange_module.resnet10t"), "strange_module.resnet10t"),
        (lambda h: h.update(options={"pretrained_cfg": {"file": "weights.pth"}}), "options.pretrained_cfg"),
        (lambda h: h.update(options={"checkpoint_path": "weights.pth"}), "options.checkpoint_path"),
        (lambda h: h.update(options={"pretrained": True}), "options.pretrained"),
        (
            lambda h: h["metadata"]["prepare"]["transform"]["transforms"].append(
                {"__class_fullname__": "strange_module.Recipe", "p": 1.0}
            ),
            "strange_module.Recipe",
        ),
        (
            lambda h: h["metadata"]["prepare"]["transform"]["transforms"].append(
                {"__class_fullname__": "Lambda", "__name__": "strange", "p": 1.0}
            ),
            "strange",
        ),
    ],
)
def test_a_checkpoint_that_names_code_is_refused(stranger, tmp_path, marker, verb, change, name):
    edit_checkpoint(stranger, change)
    assert_refused(verb, stranger, tmp_path / "out", name, marker)


def test_a_checkpoint_cannot_make_its_network_read_other_files(stranger, tmp_path):
    edit_checkpoint(stranger, lambda h: h.update(weights="/nowhere/weights.pth", pretrained=True))
    done = call("predict", stranger, tmp_path / "out")
    assert done.exit_code == 0, done.output


def test_a_run_that_names_a_package_that_declares_itself_needs_no_trust(package, stranger, tmp_path):
    edit(stranger, lambda settings: settings["data"].update(dataset="own_smears.Smears"))
    edit_checkpoint(stranger, lambda h: h.update(backbone="own_smears.tiny_net"))
    edit_checkpoint(
        stranger,
        lambda h: h["metadata"]["prepare"]["transform"]["transforms"].append(
            {"__class_fullname__": "own_smears.Stain", "height": 48, "width": 48, "p": 1.0}
        ),
    )
    for verb in ("predict", "report"):
        done = call(verb, stranger, tmp_path / "out")
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: &x [1]\nb: *x\n", "anchors and aliases"),
        (b"a: *x\n", "anchors and aliases"),
        (b"- a\n", "found a list, expected a dict"),
        (b"", "found a NoneType"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"a: !!python/object/apply:os.mkdir [x]\n", "cannot read"),
        (b"[" * 5000, "cannot read"),
        (b"a: " + b"x" * 1_000_001, "expected 1,000,000 or fewer"),
        (b"data: 2020-13-45\n", "cannot read"),
    ],
)
def test_a_configuration_that_hemai_never_wrote_is_refused(stranger, tmp_path, content, told):
    (stranger / ".hydra" / "config.yaml").write_bytes(content)
    for verb in ("report", "predict"):
        done = call(verb, stranger, tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert told in done.stderr
    done = CliRunner().invoke(app, ["compare", str(stranger)])
    assert done.exit_code == 2 and told in done.stderr


def test_what_looks_like_an_interpolation_in_a_run_folder_is_text(stranger, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "told")
    root = tmp_path / "${oc.env:SECRET} ${nothing}"
    edit(stranger, lambda settings: settings["data"].update(root=str(root)))
    assert SavedRun(stranger).data().dataset.root == root
