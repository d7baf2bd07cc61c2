import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from hemai.attribution import methods
from hemai.attribution.feature_maps import find_feature_map
from hemai.attribution.methods import BASELINES, METHODS, STEPS, attribute, integrated_gradients
from hemai.models.classifier import CellClassifier
from hemai.utils.errors import UserError
from tests.planted import TRANSFORMER, draw_squares, train_on_squares

SIDE = 64


def classifier(backbone="custom_cnn", options=None, side=SIDE, **settings):
    torch.manual_seed(0)
    options = {"img_size": side} if options is None else options
    return CellClassifier(backbone, ["a", "b", "c"], image_size=side, options=options, **settings).eval()


def draw(count=3, side=SIDE):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=random)


class Pooled(nn.Module):
    """One convolution, its mean over the image, one linear layer."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, num_classes)

    def forward(self, image):
        return self.fc(self.conv(image).relu().mean(dim=(2, 3)))


class Flat(nn.Module):
    """No feature map: one linear layer on all pixels."""

    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(3 * SIDE**2, num_classes)

    def forward(self, image):
        return self.fc(image.flatten(1))


@pytest.mark.parametrize("method", METHODS)
def test_each_map_is_not_negative_and_its_maximum_is_1(method):
    pytest.importorskip("captum")
    heat = attribute(classifier(), draw(), method=method)
    assert heat.dtype == np.float32 and heat.shape == (3, SIDE, SIDE)
    assert heat.min() == 0 and heat.max(axis=(1, 2)).tolist() == [1, 1, 1]


def test_where_nothing_speaks_for_the_class_the_map_is_0():
    model = classifier()
    nn.init.zeros_(model.backbone.fc2.weight)
    assert not attribute(model, draw()).any()


def test_without_targets_the_predicted_class_is_explained():
    model, images = classifier(), draw()
    predicted = model(images).argmax(dim=1).tolist()
    assert np.array_equal(attribute(model, images), attribute(model, images, predicted))
    assert not np.array_equal(attribute(model, images), attribute(model, images, [(i + 1) % 3 for i in predicted]))


def test_hires_cam_of_a_pooled_map_is_its_sum_weighted_by_the_last_layer():
    model = classifier()
    model.backbone = network = Pooled(3).eval()
    images = draw()
    maps = network.conv(model.scale(images.float())).detach().relu()
    expected = torch.einsum("bchw,c->bhw", maps, network.fc.weight[1].detach()).clamp(min=0).numpy()
    found = attribute(model, images, [1, 1, 1])
    assert found == pytest.approx(expected / expected.max(axis=(1, 2), keepdims=True), abs=1e-5)


def test_integrated_gradients_sum_to_the_difference_of_logits_up_to_captums_delta():
    captum = pytest.importorskip("captum.attr")
    model, (images, targets) = train_on_squares("custom_cnn"), draw_squares(4)
    pixels = images.float()
    sums = integrated_gradients(model, pixels, targets).sum(dim=(1, 2)).detach()
    with torch.no_grad():
        blank = [model(torch.full_like(pixels, value)) for value in BASELINES]
        gain = (model(pixels) - torch.stack(blank).mean(dim=0)).gather(1, targets[:, None])[:, 0]
    assert sums.numpy() == pytest.approx(gain.numpy(), abs=0.05 * gain.abs().max().item())
    reference = captum.IntegratedGradients(model)
    deltas = [
        reference.attribute(pixels, value, targets, n_steps=STEPS, return_convergence_delta=True)[1]
        for value in BASELINES
    ]
    assert (sums - gain).numpy() == pytest.approx(torch.stack(deltas).mean(dim=0).detach().numpy(), abs=1e-3)


def test_pixels_as_dark_as_a_baseline_may_count_in_integrated_gradients():
    pytest.importorskip("captum")
    images = draw()
    images[:, :, :20] = 0
    assert attribute(classifier(), images, method="integrated_gradients")[:, :20].any()


@pytest.mark.parametrize("method", METHODS)
def test_with_test_time_augmentation_a_turned_image_has_a_turned_map(method):
    pytest.importorskip("captum")
    model, images = classifier(test_time_augmentation=True), draw(1)
    heat = attribute(model, images, [0], method)
    for turn in (lambda one: torch.rot90(one, 1, (-2, -1)), lambda one: one.flip(-1)):
        turned = attribute(model, turn(images), [0], method)
        assert turned == pytest.approx(turn(torch.from_numpy(heat)).numpy(), abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_weights_with_a_low_rank_update_of_0_change_no_map(method):
    pytest.importorskip("captum")

    class LowRank(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.down = nn.Parameter(torch.randn(2, weight[0].numel()))
            self.up = nn.Parameter(torch.zeros(len(weight), 2))

        def forward(self, weight):
            return weight + (self.up @ self.down).view_as(weight)

    model, images = classifier(), draw()
    before = attribute(model, images, method=method)
    model.requires_grad_(False)
    for layer in [layer for layer in model.backbone.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight))
    assert attribute(model, images, method=method) == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize(
    "backbone, options",
    [
        ("mobilenetv2_050", {}),
        ("efficientnet_b0", {}),
        ("nasnet_mobile", {}),
        ("resnet10t", {}),
        ("convnext_atto", {}),
        ("vit_tiny_patch16_224", TRANSFORMER),
        ("vit_tiny_patch16_224", TRANSFORMER | {"reg_tokens": 4, "global_pool": "avg"}),
        ("swin_tiny_patch4_window7_224", {"img_size": SIDE, "window_size": 2, "depths": (1, 1), "num_heads": (2, 4)}),
    ],
)
def test_networks_of_timm_have_a_map_with_rows_and_columns(backbone, options):
    model, images = classifier(backbone, options), draw(2)
    with torch.no_grad():
        features = find_feature_map(model.backbone, model.scale(images[:1].float()))
        with features.record() as maps:
            model(images)
    grid = features.to_grid(maps[0])
    assert grid.shape[0] == 2 and grid.shape[2] == grid.shape[3] > 1
    assert grid.shape[1] == model.backbone.num_features
    assert attribute(model, images).shape == (2, SIDE, SIDE)


def test_class_and_register_tokens_are_dropped():
    model = classifier("vit_tiny_patch16_224", TRANSFORMER | {"reg_tokens": 2})
    features = find_feature_map(model.backbone, torch.zeros(1, 3, SIDE, SIDE))
    tokens = torch.arange(-3, 64).view(1, 67, 1)  # three tokens, then 8 rows of 8
    assert torch.equal(features.to_grid(tokens), torch.arange(64).view(1, 1, 8, 8))


def test_the_map_of_custom_cnn_lies_where_its_units_look():
    model = classifier(side=128)
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    features = find_feature_map(model.backbone, image)
    with features.record() as maps:
        model.backbone(image)
    start, step = features.grid_px
    for row, column in ((0, 0), (3, 7), (11, 11)):
        [gradient] = torch.autograd.grad(maps[0][0, :, row, column].sum(), image, retain_graph=True)
        rows, columns = (gradient[0].abs().sum(dim=0) > 0).nonzero().T
        assert rows.min() + rows.max() + 1 == pytest.approx(2 * (start + step * (row + 0.5)), abs=4)
        assert columns.min() + columns.max() + 1 == pytest.approx(2 * (start + step * (column + 0.5)), abs=4)


def test_a_network_without_feature_map_is_refused_for_one_method_only():
    pytest.importorskip("captum")
    model = classifier()
    model.backbone = Flat(3).eval()
    with pytest.raises(UserError, match=r"Flat has no feature map.*integrated_gradients"):
        attribute(model, draw())
    assert attribute(model, draw(), method="integrated_gradients").any()


def test_without_captum_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'hemai\[explain\]'"):
        attribute(classifier(), draw(), method="integrated_gradients")
    assert attribute(classifier(), draw(), method="hires_cam").any()


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="did you mean 'hires_cam'"):
        attribute(classifier(), draw(), method="hirescam")
