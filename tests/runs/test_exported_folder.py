import json
import shutil

import albumentations as A
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from hemai import load_run
from hemai.cli import app
from hemai.export.folder import write_folder
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    write_folder(SavedRun(small_run[0]), folder, "# Card")
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


RESIZE = A.to_dict(A.Resize(48, 48))["transform"]
LIST = A.to_dict(A.Compose([A.Resize(48, 48)]))["transform"]


def prepared(config, transform):
    hparams(config)["metadata"]["prepare"]["transform"] = transform


def hparams(config):
    return config["hemai"]["hyper_parameters"]


def test_a_folder_restores_the_network_of_the_run(small_run, exported):
    own, other = load_run(small_run[0]).model, load_run(exported).model
    assert all(torch.equal(own.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
    assert own.classes == other.classes and own.hparams["image_size"] == other.hparams["image_size"]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda config: config.pop("hemai"), "is not a hemai model"),
        (lambda config: config.update(hemai=[]), "is not a hemai model"),
        (lambda config: config["hemai"].pop("epoch"), "has no epoch"),
        (lambda config: hparams(config)["metadata"].pop("prepare"), "is not a hemai checkpoint"),
        (lambda config: hparams(config)["metadata"].update(threshold=2), "threshold=2, expected a number from 0 to 1"),
        (lambda config: hparams(config)["metadata"].update(temperature=float("nan")), "NaN is no number"),
        (lambda config: hparams(config).update(classes=["all", "all"]), "two different class names"),
        (lambda config: hparams(config).update(backbone="resnet10t", options={}), "does not fit its network"),
        (lambda config: hparams(config).update(backbone="os.system"), "backbone=os.system is refused"),
        (lambda config: hparams(config).update(options={"checkpoint_path": "/etc/passwd"}), "makes timm read files"),
        (lambda config: hparams(config).update(image_size=-1), "no network follows"),
        (lambda config: hparams(config).update(test_time_augmentation=2), "expected true or false"),
        (lambda config: hparams(config)["metadata"].update(data="a\nb"), "without control characters"),
        (lambda config: hparams(config)["metadata"].update(data="\x1b[2J"), "without control characters"),
        (lambda config: hparams(config)["metadata"].update(data="\ud800"), "surrogates not allowed"),
        (lambda config: config["hemai"].update(hemai_format=99, epoch="?"), "by a newer hemai .*; upgrade hemai"),
        (lambda config: prepared(config, RESIZE), "expected a Compose of single transforms"),
        (lambda config: prepared(config, LIST | {"transforms": [LIST]}), "expected a Compose of single transforms"),
        (lambda config: prepared(config, None), "a transform of its prepare list is refused"),
    ],
)
def test_values_that_cannot_be_or_name_code_are_refused(copy, change, words):
    edit(copy, change)
    with pytest.raises(UserError, match=words):
        load_run(copy)


def test_damaged_files_are_told(copy):
    text = (copy / "config.json").read_text("utf-8")
    (copy / "config.json").write_text(text[: len(text) // 2], "utf-8")
    with pytest.raises(UserError, match=r"cannot read .*config\.json"):
        load_run(copy)
    (copy / "config.json").write_text("[1]", "utf-8")
    with pytest.raises(UserError, match="is not a hemai model"):
        load_run(copy)
    (copy / "config.json").write_text(text, "utf-8")
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(UserError, match="is damaged or not a file of weights"):
        load_run(copy)


def test_weights_with_nan_or_of_another_network_are_refused(copy):
    file = copy / "model.safetensors"
    state = safetensors.torch.load_file(file)
    state["fc2.bias"][0] = torch.nan
    safetensors.torch.save_file(state, file)
    with pytest.raises(UserError, match="expected tensors by name, without NaN"):
        load_run(copy)
    safetensors.torch.save_file({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="does not fit its network"):
        load_run(copy)


def test_a_pickle_beside_or_in_place_of_the_weights_is_never_read(copy):
    torch.save({"conv1.weight": torch.zeros(3)}, copy / "pytorch_model.bin")
    assert load_run(copy)
    torch.save({"conv1.weight": torch.zeros(3)}, copy / "model.safetensors")
    with pytest.raises(UserError, match="is damaged or not a file of weights"):
        load_run(copy)


def test_the_images_of_an_exported_run_are_asked_for(exported, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(exported), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and "external test set with data=" in done.stderr
