"""Configs, networks and data sets of the user's own, outside the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.settings import compose as composition
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import read_overrides, read_selected_configs
from hemai.training.launch import launch_runs
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train, train_here

NAME = "my [configs], (it's) é=x"
FILES = {
    "data/mine.yaml": "defaults: [synthetic, _self_]\npatients: 9\ncells: 45\n",
    "model/mine.yaml": "defaults: [custom_cnn, _self_]\nlabel_smoothing: 0.1\nfreeze_epochs: 2\n",
    "model/open.yaml": "defaults: [_shared, _self_]\nbackbone: ???\nheads: 2\n",
    "transform/mine.yaml": "defaults: [flips, _self_]\n",
    "trainer/mine.yaml": "defaults: [debug, _self_]\nlimit_train_batches: 1\n",
    "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /model: mine\nseed: 7\n",
    "optimizer/slow.yaml": "# @package model.optimizer\nlr: 0.00001\n",
    "callbacks/mine.yaml": "mine: {_target_: pytorch_lightning.callbacks.Timer}\n",
}
ALL = ["data=mine", "model=mine", "transform=mine", "trainer=mine", "experiment=mine", "+optimizer=slow"]


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / NAME / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / NAME


def spellings(folder):
    return [
        ["--config-dir", str(folder)],
        [f"--config-dir={folder}"],
        ["-cd", str(folder)],
        [f"hydra.searchpath=[file://{folder}]"],
    ]


def test_all_spellings_mean_the_same_absolute_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    expected = parse_arguments(["--config-dir", str(folder), *ALL])
    for spelling in (*spellings(folder), *spellings(NAME)):
        assert parse_arguments([*spelling, *ALL]) == expected
        assert parse_arguments([*ALL, *spelling]) == expected
    assert parse_arguments(expected) == expected  # as a further device gets them


def test_every_group_takes_choices_of_the_users_own(folder):
    config = compose(parse_arguments(["--config-dir", str(folder), *ALL, "callbacks=mine"]))
    assert (config.data.cells, config.model.freeze_epochs, config.trainer.limit_train_batches, config.seed) == (
        45,
        2,
        1,
        7,
    )
    assert "horizontal_flip" in config.transform.augment
    assert config.model.optimizer.lr == 1e-5 and config.model.optimizer.opt == "adam"
    assert config.callbacks.mine._target_ == "pytorch_lightning.callbacks.Timer"


def test_two_folders_may_be_given(folder, tmp_path):
    (tmp_path / "second" / "model").mkdir(parents=True)
    (tmp_path / "second" / "model" / "other.yaml").write_text("defaults: [mine, _self_]\nfreeze_epochs: 3\n")
    both = ["--config-dir", str(folder), "--config-dir", str(tmp_path / "second")]
    assert compose(parse_arguments([*both, "model=other"])).model.freeze_epochs == 3


@pytest.mark.parametrize("how", [0, 3])
def test_hydra_itself_composes_the_same(folder, how):
    arguments = [*spellings(folder)[how], *ALL, "data.cells=60"]
    command = [sys.executable, script.__file__, *arguments, "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == yaml.safe_load(OmegaConf.to_yaml(compose(parse_arguments(arguments))))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=min"], r"model=min: no such choice; did you mean 'mine'\? \(expected .*mine"),
        (
            ["model=open", "model.backbone=resnet18", "model.head=3"],
            r"unknown key 'model.head'; did you mean 'model.heads'",
        ),
        (["+optimizer=fast"], r"optimizer=fast: no such choice.*slow"),
        (["model=open", "model.backbone=resnet18", "model.heads=many"], r"model.heads=many: expected a whole number"),
        (["model=open"], r"model.backbone has no value"),
    ],
)
def test_theirs_are_checked_like_ours(folder, overrides, message):
    with pytest.raises(UserError, match=message):
        parse_arguments(["--config-dir", str(folder), *overrides])


@pytest.mark.parametrize("verb", ["prepare", "audit", "crossvalidate", "leakage", "evaluate"])
@pytest.mark.parametrize(
    ("name", "told"),
    [("nowhere", "no config folder at"), ("empty", "no config in"), ("twice", "also has model/timm.yaml")],
)
def test_a_folder_that_is_of_no_use_is_refused(tmp_path, verb, name, told, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "twice" / "model").mkdir(parents=True)
    (tmp_path / "twice" / "model" / "timm.yaml").touch()
    monkeypatch.setattr("hemai.reporting.evaluations.find_saved_runs", lambda places, trust: [])
    out = {"prepare": [], "audit": [], "evaluate": [str(tmp_path)]}.get(verb, [])
    out += [] if verb in ("prepare", "audit") else ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [verb, "data=synthetic", "--config-dir", str(tmp_path / name), *out])
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--config-dir"], ["--config-dir="], ["hydra.searchpath=[pkg://mine]"]])
def test_a_folder_is_asked_for(arguments):
    with pytest.raises(UserError, match=r"give the folder|expected \[file://DIR\]"):
        parse_arguments(arguments)


def test_verbs_take_the_folder_too(folder):
    for spelling in spellings(folder):
        done = CliRunner().invoke(app, ["prepare", *spelling, "data=mine", "model.image_size=48"])
        assert done.exit_code == 0, done.output
        assert "synthetic" in done.stdout


def test_a_run_remembers_its_config_folder_and_choices(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("hemai.training.launch.subprocess.run", train_here)
    arguments = [*spellings(folder)[3], *ALL, "model.image_size=48", "report=false"]
    [run] = launch_runs(tmp_path / "out", [("one", arguments)], total=1)
    assert read_selected_configs(run)["model"] == "mine" and read_selected_configs(run)["transform"] == "mine"
    assert yaml.safe_load((run / ".hydra" / "hydra.yaml").read_text())["hydra"]["searchpath"] == [f"file://{folder}"]
    assert "hydra.searchpath" not in (run / ".hydra" / "overrides.yaml").read_text()
    config = compose(parse_arguments([f"resume={run}"]))
    assert config.model.freeze_epochs == 2
    assert launch_runs(tmp_path / "out", [("one", arguments)], total=1) == [run]  # known as the same run
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"no config folder at .*--config-dir"):
        parse_arguments([f"resume={run}"])
    assert compose(parse_arguments([f"resume={run}", "--config-dir", str(moved)])).model.freeze_epochs == 2
    assert read_selected_configs(run)["data"] == "mine"  # of a run whose configs moved


def test_the_choices_of_a_run_from_before_they_were_kept_follow_from_its_overrides(tmp_path):
    (tmp_path / ".hydra").mkdir()
    overrides = ["experiment=hosseini_mobilenetv2", "data.root='/cells'"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    assert read_overrides(tmp_path) == overrides
    assert (
        read_selected_configs(tmp_path)["model"] == "mobilenetv2"
        and read_selected_configs(tmp_path)["transform"] == "hosseini"
    )
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["model=gone"]))
    assert read_selected_configs(tmp_path) == {"model": "gone"}


def test_repeated_composing_costs_one_composition_each(monkeypatch):
    compose(["data.cells=60"])
    calls = []
    once = composition.hydra_compose
    monkeypatch.setattr(composition, "hydra_compose", lambda *args, **more: calls.append(args) or once(*args, **more))
    for seed in range(3):
        compose(["data.cells=60", f"seed={seed}"])
    assert len(calls) == 3


def test_what_a_caller_does_to_the_defaults_nobody_else_sees():
    first = composition.defaults([])
    first["trainer.max_epochs"] = "changed"
    composition.defaults(["transform=augmented"])["transform.augment.turn.rotate"].append("changed")
    assert composition.defaults([])["trainer.max_epochs"] == 25
    assert composition.defaults(["transform=augmented"])["transform.augment.turn.rotate"] == [-180, 180]


def test_a_config_that_was_edited_is_read_again(folder):
    arguments = parse_arguments(["--config-dir", str(folder), "model=mine"])
    file = folder / "model" / "mine.yaml"
    file.write_text(f"{file.read_text()}tails: 1\n")
    assert compose([*arguments, "model.tails=2"]).model.tails == 2


MODULE = """
from torch import nn
from hemai.data import Synthetic


class Smears(Synthetic):
    name = "smears"


def tiny_net(num_classes, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


def no_net(num_classes):
    return "no network"
"""


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    (tmp_path / "own_cells.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield Path(tmp_path)
    sys.modules.pop("own_cells", None)


def test_a_network_and_a_data_set_of_the_users_own_are_trained_by_their_dotted_names(own_package):
    names = ["data.dataset=own_cells.Smears", "model=timm", "model.backbone=own_cells.tiny_net"]
    options = ["model.options={width: 5}", "trainer.max_epochs=1", "report=true"]
    result = train(*names, *options, f"run_dir={own_package / 'run'}")
    assert result["parameters"] == 5 * 28 + 2 * 6
    assert (own_package / "run" / "report.html").is_file()  # of the user's own training, with their own names


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.dataset=own_cells.Smeers", r"data\.dataset=own_cells\.Smeers: .*Smeers"),
        ("data.dataset=nowhere.Smears", r"data\.dataset=nowhere\.Smears: No module named 'nowhere'"),
        ("data.dataset=hemai.data.Sinthetic", r"did you mean 'hemai\.data\.Synthetic'"),
        ("data.dataset=own_cells.tiny_net", r"is not a subclass of hemai\.data\.CellDataset"),
        ("data.dataset=own_cells", r"is not a subclass of hemai\.data\.CellDataset"),
        ("model.backbone=own_cells.tiny_nett", r"model\.backbone=own_cells\.tiny_nett: .*tiny_nett"),
        ("model.backbone=nowhere.tiny_net", r"model\.backbone=nowhere\.tiny_net: No module named 'nowhere'"),
        ("model.backbone=own_cells.no_net", r"returns str, expected a torch\.nn\.Module"),
        ("model.backbone=own_cells.__name__", r"model\.backbone=own_cells\.__name__.*not callable"),
        ("model.backbone=tiny_net", r"unknown timm model.*dotted name, such as my_package"),
        ("model.backbone=resnet18.no_such_tag", r"model\.backbone=resnet18\.no_such_tag"),
    ],
)
@pytest.mark.usefixtures("own_package")
def test_a_wrong_dotted_name_is_told(override, message):
    with pytest.raises(UserError, match=message):
        train(*SMALL, "model=timm", "model.backbone=resnet10t", override)


@pytest.mark.usefixtures("own_package")
def test_timm_has_no_weights_of_a_network_of_the_users_own():
    with pytest.raises(UserError, match=r"model\.pretrained=true: timm has no weights of own_cells\.tiny_net"):
        train("model=timm", "model.backbone=own_cells.tiny_net", "model.pretrained=true")
