"""Models of the hub and of folders: what is read of them, and that a checkpoint needs neither."""

import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors.torch import save_file

from hemai.models.classifier import CellClassifier
from hemai.models.source import read_source, short_name, weights_file
from hemai.models.start import create_start
from hemai.runs.provenance import file_checksum
from hemai.utils.errors import UserError

CLASSES = ("all", "hem")
HUB = "hf-hub:someone/tiny"


@pytest.fixture
def published():
    return timm.create_model("test_vit", img_size=64, num_classes=5)


@pytest.fixture
def folder(tmp_path, published):
    timm.models.save_for_hf(published, tmp_path / "tiny", safe_serialization=True)
    return tmp_path / "tiny"


@pytest.fixture
def hub(tmp_path, monkeypatch, folder):
    """A hub that does not answer, and a cache in which one model was fetched before."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return Path(shutil.copytree(folder, repository / "snapshots" / ("0" * 40)))


def change(folder, **values):
    content = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def body_of(network):
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head")}


def same_body(one, other):
    return all(torch.equal(tensor, body_of(other)[name]) for name, tensor in body_of(one).items())


@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_a_classifier_starts_from_a_published_model(kind, folder, hub, published):
    name = HUB if kind == "hub" else f"local-dir:{folder}"
    model = CellClassifier(name, CLASSES, image_size=64, pretrained=True)
    assert same_body(model.backbone, published)
    assert model.hparams["metadata"]["start"].endswith(f"from {name}; re-initialised: head (2 classes instead of 5)")


def test_without_pretrained_only_the_architecture_is_taken(folder, published):
    model = CellClassifier(f"local-dir:{folder}", CLASSES, image_size=64)
    assert body_of(model.backbone).keys() == body_of(published).keys()
    assert not same_body(model.backbone, published)
    assert "start" not in model.hparams["metadata"]


def test_a_checkpoint_needs_no_folder_and_says_where_the_network_came_from(folder, tmp_path):
    change(folder, pretrained_cfg={"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit"})
    name = f"local-dir:{folder}"
    model = CellClassifier(name, CLASSES, image_size=64, pretrained=True)
    shutil.rmtree(folder)
    again = CellClassifier(**model.hparams)
    assert again.backbone.state_dict().keys() == model.backbone.state_dict().keys()
    assert again.hparams["backbone"] == "test_vit" and again.hparams["options"]["img_size"] == 64
    assert (again.hparams["mean"], again.hparams["sd"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert again.hparams["metadata"]["origin"] == name
    assert again.hparams["metadata"]["source"] == {"licence": "mit"}


def test_weights_may_be_those_of_a_published_model(folder, published):
    source = {"licence": "MIT", "citation": "Someone, 2026"}
    start = create_start("test_vit", 2, 64, weights=f"local-dir:{folder}", source=source)
    assert same_body(start.network, published) and start.metadata["source"] == source


def test_published_weights_of_timm_are_named_and_positions_of_another_size_told(hub):
    of_timm = hub.parents[2] / "models--timm--test_vit.r160_in1k"
    shutil.copytree(hub.parents[1], of_timm)
    network = timm.create_model("test_vit")
    save_file(network.state_dict(), of_timm / "snapshots" / ("0" * 40) / "model.safetensors")
    metadata = create_start("test_vit", 2, 64, pretrained=True).metadata
    assert metadata["start"] == (
        "published weights of timm, test_vit.r160_in1k; resized to the network: position embeddings, made for 160 px"
    )
    assert metadata["source"] == {"licence": "apache-2.0"}


def test_random_weights_have_no_source():
    start = create_start("test_vit", 2, 64, source={"citation": "Someone, 2026"})
    assert start.metadata == {"weights": None, "pretrained": False}


@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_tensors_of_torch_are_read_where_there_are_no_others(kind, folder, hub, published):
    for place in (folder, hub):
        (place / "model.safetensors").unlink()
        torch.save(published.state_dict(), place / "pytorch_model.bin")
    start = create_start(HUB if kind == "hub" else f"local-dir:{folder}", 2, 64, pretrained=True)
    assert same_body(start.network, published)


def test_configs_of_earlier_versions_of_timm_are_read(folder):
    (folder / "config.json").write_text('{"architecture": "test_vit", "num_classes": 5, "mean": [0.1, 0.1, 0.1]}')
    model = read_source(f"local-dir:{folder}")
    assert (model.architecture, model.options, model.facts["mean"]) == ("test_vit", {}, [0.1, 0.1, 0.1])


@pytest.mark.parametrize(("options", "size"), [({}, 96), ({"img_size": 64}, 64)])
def test_a_network_of_one_size_is_made_for_the_images(options, size):
    start = create_start("vit_small_patch14_dinov2", 2, 96, options={"depth": 1, **options})
    assert start.options["img_size"] == size
    assert start.network.pos_embed.shape[1] == 1 + (size // 14) ** 2


@pytest.mark.parametrize("options", [{"dynamic_img_size": True}, {}])
def test_a_network_of_any_size_gets_none(options):
    start = create_start("test_vit" if options else "resnet10t", 2, 96, options=options)
    assert "img_size" not in start.options


def test_a_model_of_the_hub_has_a_short_name_for_folders():
    assert [short_name(name) for name in ("hf-hub:a/b.c", "local-dir:/x/y", "resnet18.a1_in1k")] == [
        *("b.c", "y"),
        "resnet18.a1_in1k",
    ]


def test_the_checksum_is_that_of_the_tensors(folder):
    assert file_checksum(weights_file(f"local-dir:{folder}")) == file_checksum(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"architecture": None}, "names no architecture"),
        ({"architecture": None, "model_type": "vit"}, "is of transformers, not of timm"),
        ({"architecture": "test_vi"}, r"has no architecture test_vi; did you mean 'test_vit'\?; upgrade timm"),
        ({"architecture": ["test_vit"]}, "names no architecture"),
        ({"model_args": [1]}, "are no mappings"),
        ({"model_args": {"checkpoint_path": "weights.pth"}}, r"model_args\.checkpoint_path .* is refused"),
        ({"model_args": {"pretrained_cfg": {"file": "weights.pth"}}}, r"model_args\.pretrained_cfg .* is refused"),
        ({"model_args": {"no_such": 1}}, "unexpected keyword argument"),
    ],
)
def test_a_config_that_is_not_of_timm_is_refused(folder, values, told):
    change(folder, **values)
    with pytest.raises(UserError, match=told):
        create_start(f"local-dir:{folder}", 2, 64)


@pytest.mark.parametrize("content", ["", '{"archit', "[1]", '"test_vit"'])
def test_a_damaged_config_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"is damaged|names no architecture"):
        read_source(f"local-dir:{folder}")


def test_what_is_missing_is_told(folder, tmp_path):
    with pytest.raises(UserError, match=r"no folder at .*nowhere; expected hf-hub:OWNER/NAME or local-dir:FOLDER"):
        read_source(f"local-dir:{tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match="no folder at"):
        read_source("local-dir:")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has neither model\.safetensors nor pytorch_model\.bin"):
        create_start(f"local-dir:{folder}", 2, 64, pretrained=True)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"it has no config\.json"):
        read_source(f"local-dir:{folder}")


@pytest.mark.usefixtures("hub")
def test_without_network_the_error_says_so_and_names_other_ways():
    with pytest.raises(UserError, match=r"the hub is not reachable.*local-dir:FOLDER.*model\.weights=FILE"):
        read_source("hf-hub:someone/other")
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:a/b/c", "hf-hub:../../x", "hf-hub:a b/c"])
@pytest.mark.usefixtures("hub")
def test_a_name_that_cannot_be_of_the_hub_is_refused(name):
    with pytest.raises(UserError, match="expected hf-hub:OWNER/NAME"):
        read_source(name)


@pytest.mark.parametrize("error", [GatedRepoError, RepositoryNotFoundError])
def test_a_model_that_the_hub_refuses_is_told(monkeypatch, error):
    def refuse(*_, **__):
        raise error("401 Client Error. Access is restricted.", response=Mock())

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError, match=r"someone/tiny: 401 Client Error. Access is restricted; expected"):
        read_source(HUB)


def test_an_unknown_fact_of_the_source_is_refused():
    with pytest.raises(UserError, match=r"model\.source\.license is unknown; did you mean 'licence'"):
        create_start("test_vit", 2, 64, source={"license": "MIT"})
