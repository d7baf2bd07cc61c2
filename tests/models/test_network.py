import time

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from hemai.models.classifier import CellClassifier
from hemai.models.network import create_network, expected_normalization
from hemai.models.weights import load_weights
from hemai.utils.errors import UserError

CLASSES = ("all", "hem")
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # mean and sd of its pixels


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [
        ("resnet18", *IMAGENET),
        ("mobilenetv3_large_100", *IMAGENET),
        ("mobilenetv3_large_100.miil_in21k", [0, 0, 0], [1, 1, 1]),  # the tag matters
        ("tf_efficientnet_lite0", [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),  # TensorFlow's -1..1
        ("custom_cnn", [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),  # never published
    ],
)
def test_a_network_expects_the_pixels_that_its_published_weights_were_trained_with(name, mean, sd):
    assert expected_normalization(timm.create_model(name, num_classes=2)) == (mean, sd)


def test_a_mean_that_the_user_sets_is_kept():
    network = timm.create_model("resnet18", num_classes=2)
    assert expected_normalization(network, mean=[0.1, 0.2, 0.3]) == ([0.1, 0.2, 0.3], IMAGENET[1])


def test_a_classifier_scales_as_its_network_expects_and_its_checkpoint_says_so():
    model = CellClassifier("resnet18", CLASSES, image_size=64)
    assert (model.scale.mean.flatten() / 255).tolist() == pytest.approx(IMAGENET[0])
    assert (model.scale.sd.flatten() / 255).tolist() == pytest.approx(IMAGENET[1])
    assert (model.hparams["mean"], model.hparams["sd"]) == IMAGENET


@pytest.fixture
def cache_without_hub(monkeypatch, tmp_path):
    """A hub that refuses connections, and its empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.usefixtures("cache_without_hub")
def test_without_network_the_error_comes_at_once_and_names_two_ways_out():
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"resnet18.*model\.pretrained=false.*model\.weights=FILE"):
        create_network("resnet18", 2, pretrained=True, options={})
    assert time.monotonic() - begin < 10  # the hub's client alone takes 47 s
    assert not huggingface_hub.constants.HF_HUB_OFFLINE  # the hub may answer the next time


def test_without_network_weights_that_were_fetched_before_are_found(cache_without_hub):
    published = timm.create_model("resnet18").state_dict()
    repository, commit = cache_without_hub / "models--timm--resnet18.a1_in1k", "0" * 40
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    save_file(published, repository / "snapshots" / commit / "model.safetensors")
    network = create_network("resnet18", 2, pretrained=True, options={})
    assert torch.equal(network.conv1.weight, published["conv1.weight"])
    assert network.fc.out_features == 2


@pytest.mark.usefixtures("cache_without_hub")
def test_a_file_makes_the_published_weights_needless(tmp_path):
    source = timm.create_model("resnet18", num_classes=2)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    model = CellClassifier("resnet18", CLASSES, pretrained=True, weights=str(tmp_path / "resnet18.pth"))
    assert torch.equal(model.backbone.fc.weight, source.fc.weight)


def test_a_network_without_published_weights_says_so():
    with pytest.raises(UserError, match=r"no published weights; set model\.pretrained=false"):
        create_network("custom_cnn", 2, pretrained=True, options={})


def test_a_network_that_tells_no_head_starts_from_a_file_of_all_its_tensors(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    report = load_weights(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "weights.pth")
    assert report.matched == ("0.weight", "0.bias") and not report.reinitialized
    with pytest.raises(UserError, match=r"of another shape 0\.weight"):
        load_weights(torch.nn.Sequential(torch.nn.Linear(3, 2)), tmp_path / "weights.pth")
