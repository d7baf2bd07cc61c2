"""A run folder or a checkpoint from a stranger is data: what it names is not run."""

import pickle
import shutil
import sys

import pytest
import torch
import yaml
from typer.testing import CliRunner

from hemai.cli import app
from hemai.config import checked_arguments
from hemai.errors import UserError
from hemai.trust import check_names, check_overrides, is_trusted
from tests.small_run import SMALL, train

DATA = SMALL[:3]
VERBS = ("report", "evaluate", "predict", "audit")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(f"run_dir={folder}", "trainer.max_epochs=1")
    return folder


@pytest.fixture
def stranger(run, tmp_path):
    return shutil.copytree(run, tmp_path / "stranger")


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file or folder that is there once a stranger's code ran; `strange_module` writes it when it is imported."""
    marker = tmp_path / "marker"
    (tmp_path / "payload.pkl").write_bytes(pickle.dumps(Payload(marker)))
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "strange_module.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\nfrom hemai.data import Synthetic as Smears\n"
        "from hemai.transforms import Recipe\nfrom timm.models import resnet10t\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield marker
    sys.modules.pop("strange_module", None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that declares itself."""
    site = tmp_path / "site"
    for folder in ("own_smears", "own_smears-1.0.dist-info"):
        (site / folder).mkdir(parents=True)
    (site / "own_smears-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own_smears\nVersion: 1.0")
    (site / "own_smears-1.0.dist-info" / "entry_points.txt").write_text("[hemai]\nown_smears = own_smears\n")
    (site / "own_smears" / "__init__.py").write_text(
        "import os\nimport timm\nimport albumentations as A\nfrom pandas import read_pickle\nfrom hemai.data import Synthetic\n\n"
        "class Smears(Synthetic):\n    pass\n\n"
        "class Stain(A.Resize):\n    pass\n\n"
        "def tiny_net(num_classes, **options):\n    return timm.create_model('custom_cnn', num_classes=num_classes, **options)\n"
    )
    monkeypatch.syspath_prepend(site)
    yield "own_smears"
    sys.modules.pop("own_smears", None)


def edit(folder, change, name="config"):
    file = folder / ".hydra" / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    content = change(content) or content
    file.write_text(yaml.safe_dump(content, sort_keys=False))


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
    assert done.exit_code == 2 and "does not fit its own settings" in done.stderr  # the weights are of custom_cnn
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
            lambda h: h["facts"]["prepare"]["transform"]["transforms"].append(
                {"__class_fullname__": "strange_module.Recipe", "p": 1.0}
            ),
            "strange_module.Recipe",
        ),
        (
            lambda h: h["facts"]["prepare"]["transform"]["transforms"].append(
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


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("transform._target_=strange_module.Recipe", "transform._target_=strange_module.Recipe"),
        ("data.dataset=strange_module.Smears", "data.dataset=strange_module.Smears"),
        ("model.backbone=strange_module.resnet10t", "model.backbone=strange_module.resnet10t"),
        ("+trainer.plugins=[{_target_: strange_module.Recipe}]", "trainer.plugins.0._target_=strange_module.Recipe"),
        ("+transform._partial_=true", "transform._partial_"),
        ("+trainer.profiler={_target_: pytorch_lightning.loggers.logger.os.system}", "os.system"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true sets Hydra itself"),
        ("hydra/job_logging=default", "hydra/job_logging=default sets Hydra itself"),
        ("+hydra.callbacks.x={_target_: strange_module.Recipe}", "sets Hydra itself"),
        ("++hydra.searchpath=[pkg://strange_module]", "hydra"),
        ("monitor=${oc.env:HOME}", "computes its value"),
        ("monitor='${oc.decode:${oc.env:HOME}}'", "computes its value"),
        ("monitor=a${${seed}x:1}", "cannot read|computes its value"),
        ("model.options={a: ${oc.env:HOME}, b: ${seed}}", "computes its value"),
        ("'+trust=true'", "cannot read"),
    ],
)
def test_overrides_of_a_stranger_are_refused_on_resume(stranger, marker, override, name):
    edit(stranger, lambda overrides: [*overrides, override], "overrides")
    with pytest.raises(UserError, match=name.replace("[", r"\[")):
        checked_arguments([f"resume={stranger}"])
    assert not marker.exists()


@pytest.mark.parametrize("override", ["trust=true", "++trust=true", "+trust=true"])
def test_a_run_cannot_trust_itself(stranger, marker, override):
    edit(stranger, lambda overrides: [*overrides, override, "data.dataset=strange_module.Smears"], "overrides")
    with pytest.raises(UserError, match=r"strange_module\.Smears is refused"):
        checked_arguments([f"resume={stranger}"])
    assert not marker.exists()


def test_the_user_can_trust_a_run_and_further_devices_hear_of_it(stranger):
    edit(stranger, lambda overrides: [*overrides, "data.dataset=strange_module.Smears"], "overrides")
    edit(stranger, lambda settings: settings["data"].update(dataset="strange_module.Smears"))
    arguments = checked_arguments([f"resume={stranger}", "--trust"])
    assert "trust=true" in arguments and "--trust" not in arguments
    assert checked_arguments(arguments) == arguments


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hydra: {job: {env_set: {PATH: /strange}}}", "hydra.job.env_set"),
        ("hydra: {job_logging: {handlers: {x: {(): strange_module.Recipe}}}}", "hydra.job_logging.handlers"),
        ("hydra: {callbacks: {x: {_target_: strange_module.Recipe}}}", "hydra.callbacks"),
        ("hydra: {launcher: {_target_: strange_module.Recipe}}", "hydra.launcher._target_"),
        ("transform: {_target_: strange_module.Recipe}", "transform._target_=strange_module.Recipe"),
        ("transform: {_target_: '${published.source}'}\npublished: {source: strange_module.Recipe}", "strange_module"),
        ("transform: {_target_: '${oc.env:HOME}'}", "computes its value"),
        ("trainer: {x: {_target_: '${now:%S}'}}", "computes its value"),
    ],
)
def test_config_folders_of_a_stranger_are_as_strange_as_the_run(stranger, tmp_path, marker, text, name):
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    (tmp_path / "configs" / "experiment" / "strange.yaml").write_text(f"# @package _global_\n{text}\n")
    edit(stranger, lambda hydra: hydra["hydra"].update(searchpath=[f"file://{tmp_path / 'configs'}"]), "hydra")
    edit(stranger, lambda overrides: [*overrides, "experiment=strange"], "overrides")
    with pytest.raises(UserError, match=name):
        checked_arguments([f"resume={stranger}"])
    assert not marker.exists()


def test_a_package_on_the_search_path_of_a_stranger_is_not_imported(stranger, marker):
    edit(stranger, lambda hydra: hydra["hydra"].update(searchpath=["pkg://strange_module"]), "hydra")
    with pytest.raises(UserError, match=r"expected folders"):
        checked_arguments([f"resume={stranger}"])
    assert not marker.exists()


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
    edit(stranger, lambda settings: settings["data"].update(root="/a/${oc.env:SECRET}/${nothing}"))
    done = call("report", stranger, tmp_path / "out")
    assert done.exit_code == 0, done.output
    page = (stranger / "report.md").read_text()
    assert "/a/${oc.env:SECRET}/${nothing}" in page and "told/" not in page


def test_a_path_that_looks_like_an_interpolation_is_resumed(tmp_path):
    root = tmp_path / "${seed} it's"
    train("data.cells=60", f"data.root={root}", f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1")
    overrides = checked_arguments([f"resume={tmp_path / 'run'}"])
    assert any("${seed} it" in override for override in overrides)


@pytest.mark.parametrize(
    "name",
    [
        "albumentations.Resize",
        "albumentations.OneOf",
        "albumentations.augmentations.geometric.resize.Resize",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.Trainer",
        "hemai.data.CNMC",
        "hemai.transforms.SegmentNucleus",
    ],
)
def test_what_hemai_uses_is_trusted(name):
    assert is_trusted(name)


@pytest.mark.parametrize(
    "name",
    [
        "albumentations.core.serialization.from_dict",  # no transform
        "albumentations.core.serialization.Path",
        "albumentations.core.composition.random.os.system",
        "albumentations.np.load",
        "albumentations",
        "albumentations.Resize.__init__",
        "albumentations..Resize",
        "albumentations.no_such_name",
        "albumentationsx.Resize",
        "pytorch_lightning.callbacks.model_checkpoint.shutil.rmtree",
        "pytorch_lightning.loggers.csv_logs.os",
        "pytorch_lightning.trainer.call._call_and_handle_interrupt",
        "hemai.files.write_text",
        "hemai.__main__.app",
        "hemai.data.datamodule.os.system",
        "os.system",
        "builtins.eval",
        "${oc.env:HOME}",
        "",
        None,
        ["os.system"],
    ],
)
def test_other_code_is_not(name):
    assert not is_trusted(name)


def test_of_a_package_that_declares_itself_its_own_classes_and_functions_are_trusted(package, stranger, tmp_path):
    assert is_trusted("own_smears.Smears") and is_trusted("own_smears.tiny_net")
    for name in ("own_smears.os.system", "own_smears.read_pickle", "own_smears.timm.create_model", "own_smears.os"):
        assert not is_trusted(name)
    edit(stranger, lambda settings: settings["data"].update(dataset="own_smears.Smears"))
    edit_checkpoint(stranger, lambda h: h.update(backbone="own_smears.tiny_net"))
    edit_checkpoint(
        stranger,
        lambda h: h["facts"]["prepare"]["transform"]["transforms"].append(
            {"__class_fullname__": "own_smears.Stain", "height": 48, "width": 48, "p": 1.0}
        ),
    )
    sys.modules.pop(package)
    for verb in ("predict", "report"):
        done = call(verb, stranger, tmp_path / "out")
        assert done.exit_code == 0, done.output


def test_without_its_entry_point_a_package_is_refused(package, stranger, tmp_path):
    (tmp_path / "site" / "own_smears-1.0.dist-info" / "entry_points.txt").write_text("")
    assert not is_trusted("own_smears.Smears")
    assert package not in sys.modules


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_the_special_keys_of_hydra_are_refused(key):
    with pytest.raises(UserError, match=rf"transform\.0\.{key}"):
        check_names({"transform": [{"_target_": "albumentations.Resize", key: []}]}, "a run")


def test_a_target_that_is_no_text_is_refused():
    with pytest.raises(UserError, match="_target_"):
        check_names({"transform": {"_target_": {"_target_": "albumentations.Resize"}}}, "a run")


def test_settings_that_name_other_settings_are_allowed_in_overrides():
    check_overrides(["model.image_size=${data.size}", "trainer.precision='${best_precision:${.accelerator}}'"], "a run")
