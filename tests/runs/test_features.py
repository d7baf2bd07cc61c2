import pytest
import torch
from torch import nn

from hemai.models.classifier import CellClassifier
from hemai.runs.features import penultimate_features
from hemai.utils.errors import UserError

IMAGES = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def classifier(backbone, **options):
    return CellClassifier(backbone=backbone, classes=["all", "hem"], positive=["all"], image_size=64, **options)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_100", "nasnet_mobile"])
def test_features_are_those_of_timm_before_the_logits(backbone):
    model = classifier(backbone).eval()
    found = penultimate_features(model, [IMAGES[:3], IMAGES[3:]])
    with torch.inference_mode():
        model = model.cpu()
        scaled = model.scale(IMAGES)
        expected = model.backbone.forward_head(model.backbone.forward_features(scaled), pre_logits=True)
    assert torch.from_numpy(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"test_time_augmentation": True}])
def test_the_last_layer_makes_the_logits_of_the_features(options):
    model, images = classifier("custom_cnn", **options).eval(), IMAGES.repeat(1, 1, 2, 2)  # 128 x 128
    features = torch.from_numpy(penultimate_features(model, [images]))
    model = model.cpu()
    with torch.inference_mode():
        logits = model.backbone.get_classifier()(features)
        assert logits.numpy() == pytest.approx(model(images).numpy(), abs=1e-4)
        assert model.backbone.get_classifier()._forward_pre_hooks == {}


def test_a_network_that_does_not_name_its_last_layer_is_refused():
    model = classifier("custom_cnn")
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
    with pytest.raises(UserError, match="does not name its last layer.*; give it a method get_classifier"):
        penultimate_features(model, [IMAGES])
