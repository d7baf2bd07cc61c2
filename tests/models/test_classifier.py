import pytest
import torch
from omegaconf import OmegaConf

from hemai.models.classifier import CellClassifier
from hemai.models.network import Normalize
from hemai.settings.compose import compose
from hemai.utils.errors import UserError

CLASSES = ("all", "hem")


def test_plain_pixels_are_scaled_inside_the_network():
    scale = Normalize(mean=(0.5, 0.5, 0.5), sd=(0.5, 0.5, 0.5))
    image = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    assert scale(image).flatten().tolist() == pytest.approx([-1, 1, -0.6])


def test_means_of_imagenet_are_applied_channel_by_channel():
    scale = Normalize(mean=(0.485, 0.456, 0.406), sd=(0.229, 0.224, 0.225))
    image = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert scale(image).flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_takes_uint8_images_in_any_memory_layout():
    model = CellClassifier("custom_cnn", CLASSES).eval()
    images = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    torch.testing.assert_close(model(images), model(images.contiguous()))


def test_hyperparameters_are_plain_data_that_load_safely(tmp_path):
    config = OmegaConf.to_container(compose([])["model"], resolve=True)
    config.pop("_target_")
    model = CellClassifier(**config, classes=CLASSES, positive=["all"], metadata={"split_hash": "abc"})
    torch.save(dict(model.hparams), tmp_path / "hparams.pt")
    assert torch.load(tmp_path / "hparams.pt", weights_only=True)["metadata"]["split_hash"] == "abc"


def test_a_misspelt_network_suggests_the_nearest():
    with pytest.raises(UserError, match=r"=rasnet18.*did you mean 'resnet18'"):
        CellClassifier("rasnet18", CLASSES)


def test_an_option_that_the_network_lacks_is_an_error():
    with pytest.raises(UserError, match="drop_rat"):
        CellClassifier("custom_cnn", CLASSES, options={"drop_rat": 0.1})


def test_any_network_of_timm_can_be_the_backbone():
    model = CellClassifier("resnet18", CLASSES, image_size=64).eval()
    assert model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 2)


def test_augmented_logits_are_the_mean_over_eight_positions_and_no_position_matters():
    torch.manual_seed(0)
    plain = CellClassifier("custom_cnn", CLASSES).eval()
    several = CellClassifier("custom_cnn", CLASSES, test_time_augmentation=True).eval()
    several.load_state_dict(plain.state_dict())
    image = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    turned = [image, image.rot90(1, (2, 3)), image.rot90(2, (2, 3)), image.rot90(3, (2, 3))]
    positions = [*turned, *(position.transpose(2, 3) for position in turned)]
    with torch.no_grad():
        expected = sum(plain(position) for position in positions) / 8
        torch.testing.assert_close(several(image), expected)
        torch.testing.assert_close(several(image.rot90(1, (2, 3))), several(image))
        assert (plain(image) - plain(positions[5])).abs().max() > 1e-4
        torch.testing.assert_close(several.train().backbone.eval() and several(image), plain(image))
