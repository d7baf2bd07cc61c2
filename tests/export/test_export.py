import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.utils import parametrize
from typer.testing import CliRunner

import hemai.models
from hemai import load_run
from hemai.cli import app
from hemai.export import export as exports
from hemai.export.plain_network import PlainNetwork
from hemai.export.torch_files import program_content, program_probabilities
from hemai.models.classifier import CellClassifier
from tests.small_run import train

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from hemai.export.onnx_file import onnx_content, onnx_outputs, start_session  # noqa: E402

MARK = "secretplace"  # part of every path of the machine that must not leave it


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose folder, data and names of patients can be searched for."""
    folder = tmp_path_factory.mktemp(MARK) / "run"
    train(f"run_dir={folder}", f"data.root={folder.parent / 'cells'}", "trainer.max_epochs=1")
    return folder


@pytest.fixture(scope="module")
def tested(run):
    """Test images as a program without hemai reads them, and the predictions that the run saved."""
    table = pd.read_csv(run / "predictions_test.csv")
    files = [str(run.parent / "cells" / path) for path in table["path"]]
    pixels = [cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files]
    images = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in pixels])
    return files, images, table


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """One export of each format."""
    folder = tmp_path_factory.mktemp("exported")
    for kind, name in (("onnx", "run.onnx"), ("torch", "run.pt2"), ("state_dict", "run.pth"), ("safetensors", "run")):
        done = export(run, "--format", kind, "--out", folder / name)
        assert done.exit_code == 0, done.output
        size, difference, *_ = done.stdout.splitlines()
        assert f"{name} (" in size and "test images of the run" in difference
    return folder


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})


def softmax(table):
    powers = np.exp(table[["logit/all", "logit/hem"]].to_numpy())
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_onnx_predicts_plain_images_as_the_run_did_in_any_batch(files, tested, batch):
    session = onnxruntime.InferenceSession(files / "run.onnx")
    _, images, table = tested
    parts = [
        session.run(["probabilities"], {"images": images[start : start + batch]})[0]
        for start in range(0, len(images), batch)
    ]
    assert np.abs(np.concatenate(parts) - softmax(table)).max() < 1e-5


def test_onnx_says_what_a_program_must_know(files, run):
    about = onnxruntime.InferenceSession(files / "run.onnx").get_modelmeta().custom_metadata_map
    metadata = load_run(run).metadata
    assert json.loads(about["classes"]) == ["all", "hem"] and json.loads(about["positive"]) == ["all"]
    assert json.loads(about["image_size"]) == [48, 48]
    assert json.loads(about["threshold"]) == metadata["threshold"]
    assert json.loads(about["temperature"]) == metadata["temperature"]
    [resize] = json.loads(about["prepare"])
    assert (resize["__class_fullname__"], resize["height"], resize["interpolation"]) == ("Resize", 48, cv2.INTER_AREA)
    assert about["trained_on"] == "synthetic" and about["hemai_version"] == hemai.__version__
    assert "research use only" in about["use"]


def test_a_program_of_torch_predicts_as_the_run_did(files, tested):
    _, images, table = tested
    probabilities = program_probabilities((files / "run.pt2").read_bytes(), images)
    assert np.abs(probabilities - softmax(table)).max() < 1e-5


def test_a_state_dict_has_the_names_of_the_report_and_the_tensors_of_the_checkpoint(files, run):
    state = torch.load(files / "run.pth", weights_only=True)
    layers = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")
    assert list(state) == [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(state[name], saved[f"backbone.{name}"]) for name in state)


def test_timm_loads_a_folder(files, run):
    network = timm.create_model(f"local-dir:{files / 'run'}", pretrained=True).eval()
    image = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(network(image), load_run(run).model.backbone(image))


def test_every_verb_takes_a_folder_for_a_run(files, run, tested, tmp_path):
    paths, images, table = tested
    own, exported = load_run(run), load_run(files / "run")
    assert exported.best_epoch == own.best_epoch and exported.folder is None
    assert np.abs(exported.predict(images)["probability/all"] - softmax(table)[:, 0]).max() < 1e-5
    for key in ("threshold", "temperature", "prepare", "split_hash", "class_counts"):
        assert exported.metadata[key] == own.metadata[key]
    verbs = CliRunner()
    done = verbs.invoke(app, ["predict", str(files / "run"), paths[0], "--out", str(tmp_path / "a.csv")])
    assert done.exit_code == 0, done.output
    done = export(files / "run", "--format", "state_dict", "--out", tmp_path / "b.pth", "--images", *paths[:1])
    assert done.exit_code == 0 and "1 images of --images" in done.stdout
    data = ["data=synthetic", f"data.root={run.parent / 'cells'}", "data.patients=9", "data.cells=150"]
    done = verbs.invoke(app, ["evaluate", str(files / "run"), *data, "--out", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    done = verbs.invoke(app, ["compare", str(files / "run"), str(run)])
    assert done.exit_code == 2 and "has no test predictions" in done.stderr
    done = verbs.invoke(app, ["report", str(files / "run")])
    assert done.exit_code == 2 and "has no test predictions" in done.stderr


def test_nothing_exported_holds_a_path_of_the_machine_or_the_name_of_a_patient(run, tmp_path):
    other = tmp_path / MARK / "run"
    shutil.copytree(run, other)
    content = torch.load(other / "checkpoints" / "best.ckpt", weights_only=True)
    metadata = content["hyper_parameters"]["metadata"]
    metadata |= {"weights": f"/{MARK}/w.pth", "start": f"12 tensors from /{MARK}/w.pth", "split": f"/{MARK}/P1.csv"}
    torch.save(content, other / "checkpoints" / "best.ckpt")
    for file in ("splits.csv", "predictions_test.csv"):  # names that no weights spell by chance
        table = pd.read_csv(other / file, dtype=str).assign(group=lambda table: "Patient" + table["group"])
        table.to_csv(other / file, index=False)
    splits = pd.read_csv(other / "splits.csv", dtype=str)
    tested = splits["group"][splits["split"] == "test"].iloc[0]
    splits.loc[splits.index[splits["split"] == "train"][0], "group"] = tested  # leakage: its sentence names patients
    splits.to_csv(other / "splits.csv", index=False)
    for kind, name in (("onnx", "r.onnx"), ("torch", "r.pt2"), ("state_dict", "r.pth"), ("safetensors", "r")):
        done = export(other, "--format", kind, "--out", tmp_path / "out" / name)
        assert done.exit_code == 0, done.output
    written = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    hidden = {MARK, str(hemai.__path__[0]), *splits["group"], *splits["path"]}
    assert {text for text in hidden if text.encode() in written} == set()
    card = (tmp_path / "out" / "r" / "README.md").read_text("utf-8")
    assert "WARNING, leakage: 1 of the" in card and "data.root=PATH" in card and "split=file" in card


def test_without_its_images_a_run_is_compared_on_random_ones_and_says_so(files, tmp_path):
    done = export(files / "run", "--out", tmp_path / "a.onnx")
    assert done.exit_code == 0 and "32 random images" in done.stdout
    done = export(files / "run", "--out", tmp_path / "b.onnx", "--int8")
    assert done.exit_code == 2 and "--int8 needs real images" in done.stderr and not (tmp_path / "b.onnx").exists()


def test_int8_prints_its_loss_of_auroc_on_the_test_images(run, files, tested, tmp_path):
    done = export(run, "--int8", "--out", tmp_path / "int8.onnx")
    assert done.exit_code == 0, done.output
    _, images, table = tested
    malignant = table["label"] == "all"
    before = roc_auc_score(malignant, table["logit/all"] - table["logit/hem"])
    [logits] = onnxruntime.InferenceSession(tmp_path / "int8.onnx").run(["logits"], {"images": images})
    after = roc_auc_score(malignant, logits[:, 0] - logits[:, 1])
    assert f"AUROC {after:.4f}, {before:.4f} in float32 ({after - before:+.4f})" in done.stdout
    assert "training images" in done.stdout and "times the speed of float32" in done.stdout
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * (files / "run.onnx").stat().st_size


@pytest.mark.parametrize("kind, name", [("onnx", "a.onnx"), ("safetensors", "a")])
def test_an_export_that_differs_is_refused_and_nothing_is_left(run, tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr(exports, "LARGEST", 0.0)
    done = export(run, "--format", kind, "--out", tmp_path / name)
    assert done.exit_code == 2 and "nothing is written" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--format", "onx", "--out", "a.onnx"], "did you mean 'onnx'"),
        (["--format", "torch", "--out", "a.onnx"], "does not end with .pt2"),
        (["--format", "torch", "--out", "a.pt2", "--int8"], "--int8 applies only to --format onnx"),
        (["--out", "there.onnx"], "already exists"),
        (["--out", "folder.onnx", "--overwrite"], "is a folder"),
        (["--format", "safetensors", "--out", "there.onnx", "--overwrite"], "is a file"),
        (["--format", "safetensors", "--out", "full"], "already exists"),
        (["--format", "safetensors", "--out", "full", "--overwrite"], "is not an exported run"),
        (["--out", "there.onnx/a.onnx"], "cannot write"),
        (["--out", "a.onnx", "--images", "none"], "no image at none"),
    ],
)
def test_what_cannot_be_written_is_refused_and_left_as_it_is(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_text("mine")
    for folder in ("folder.onnx", "full"):
        (tmp_path / folder).mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    done = export(run, *arguments)
    assert done.exit_code == 2 and words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "there.onnx").read_text() == "mine"


def test_an_existing_export_is_replaced_if_asked(files, run, tmp_path):
    shutil.copytree(files / "run", tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").write_text("damaged")
    (tmp_path / "a" / "mine.txt").write_text("mine")
    done = export(run, "--format", "safetensors", "--out", tmp_path / "a", "--overwrite")
    assert done.exit_code == 0 and load_run(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    names = ["README.md", "config.json", "mine.txt", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


def test_the_network_of_another_program_is_not_replaced(files, run, tmp_path):
    shutil.copytree(files / "run", tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{}")
    done = export(run, "--format", "safetensors", "--out", tmp_path / "a", "--overwrite")
    assert done.exit_code == 2 and "is not an exported run" in done.stderr
    assert (tmp_path / "a" / "config.json").read_text() == "{}"


def test_an_ensemble_is_refused(run, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / "runs" / name)
    done = export(tmp_path / "runs", "--out", tmp_path / "a.onnx")
    assert done.exit_code == 2 and "2 runs; an ensemble is not exported" in done.stderr


def test_a_missing_package_is_named_with_its_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hemai.export.onnx_file", None)
    done = export(run, "--out", tmp_path / "a.onnx")
    assert done.exit_code == 2 and "pip install 'hemai[export]'" in done.stderr


def test_adapters_are_merged_and_the_original_stays():
    adapter = {"name": "lora", "rank": 2}
    model = CellClassifier(
        "test_vit", ["a", "b"], image_size=48, adapter=adapter, optimizer={"opt": "sgd", "lr": 1}
    ).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):  # 0 at the start, where an adapter has no effect
            nn.init.normal_(parameter)
    plain = PlainNetwork(model)
    image = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(plain(image.permute(0, 2, 3, 1))[0], model(image))
    assert not any(map(parametrize.is_parametrized, plain.modules()))
    assert any(map(parametrize.is_parametrized, model.modules()))


def agrees(backbone, size, **settings):
    """Logits of ONNX and of a program of torch are those of the classifier, in a batch of another size."""
    torch.manual_seed(0)
    model = CellClassifier(backbone, ["a", "b", "c"], image_size=size, **settings).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2))
    network = PlainNetwork(model).eval()
    logits, _ = onnx_outputs(start_session(onnx_content(network, images, {})), images)
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-4)
    found = program_probabilities(program_content(network, images), images)
    torch.testing.assert_close(torch.from_numpy(found), expected.softmax(dim=1), rtol=1e-4, atol=1e-5)


def test_test_time_augmentation_is_inside():
    agrees("custom_cnn", 48, options={"img_size": 48}, test_time_augmentation=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone, size", [("mobilenetv2_100", 96), ("efficientnet_b0", 96), ("nasnet_mobile", 96), ("resnet10t", 96)]
)
def test_networks_agree(backbone, size):
    agrees(backbone, size)


@pytest.mark.slow
def test_a_vision_transformer_agrees():
    agrees("vit_tiny_patch16_224", 64, options={"img_size": 64})
