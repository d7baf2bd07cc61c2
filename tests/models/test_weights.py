import pytest
import timm
import torch

from hemai.classifier import CellClassifier
from hemai.errors import UserError
from hemai.models.weights import load_weights

CLASSES = ("all", "hem")


def network(**options):
    return timm.create_model("custom_cnn", num_classes=2, **options)


def test_a_state_dict_of_the_report_is_loaded_by_the_classifier(tmp_path):
    source = network()
    torch.save(source.state_dict(), tmp_path / "HEMAI.pth")
    model = CellClassifier("custom_cnn", CLASSES, weights=str(tmp_path / "HEMAI.pth"))
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor)


def test_a_checkpoint_of_hemai_is_loaded(tmp_path):
    model = CellClassifier("custom_cnn", CLASSES)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "best.ckpt")
    target = network()
    load_weights(target, tmp_path / "best.ckpt")
    assert torch.equal(target.fc2.weight, model.backbone.fc2.weight)


def test_a_checkpoint_does_not_need_the_file_that_it_started_from(tmp_path):
    torch.save(network().state_dict(), tmp_path / "HEMAI.pth")
    model = CellClassifier("custom_cnn", CLASSES, weights=str(tmp_path / "HEMAI.pth"))
    (tmp_path / "HEMAI.pth").unlink()
    again = CellClassifier(**model.hparams)
    assert again.hparams["facts"]["weights"].endswith("HEMAI.pth")


def test_weights_of_another_input_size_are_refused(tmp_path):
    torch.save(network(img_size=64).state_dict(), tmp_path / "small.pth")
    with pytest.raises(UserError, match=r"fc1\.weight.*image_size"):
        load_weights(network(), tmp_path / "small.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"missing conv1\.bias.*layer\.weight"):
        load_weights(network(), tmp_path / "other.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="no file of weights"):
        load_weights(network(), tmp_path / "bad.ckpt")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file at"):
        load_weights(network(), tmp_path / "none.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="no file of weights"):
        load_weights(network(), tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()
