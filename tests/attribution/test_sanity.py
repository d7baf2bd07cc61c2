"""Do the maps show what a network learned? Adebayo et al., Sanity Checks for Saliency Maps, 2018 (arXiv 1810.03292)."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from hemai.attribution.methods import METHODS, attribute
from tests.planted import AREA, SQUARE, draw_squares, train_on_squares

pytest.importorskip("captum")
LAST_LAYER, ALL_LAYERS = 0.9, 0.3  # rank correlation with the maps of the trained network must be below


@pytest.fixture(
    scope="module",
    params=["custom_cnn", "class token", "mean of tokens", pytest.param("resnet10t", marks=pytest.mark.slow)],
)
def trained(request):
    return train_on_squares(request.param)


def randomised(model):
    """Yield the network with its last layer random, then with all layers."""
    changed = copy.deepcopy(model)
    torch.manual_seed(1)
    layers = [layer for layer in changed.backbone.modules() if hasattr(layer, "reset_parameters")]
    layers = [layer for layer in layers if list(layer.parameters(recurse=False))]
    layers[-1].reset_parameters()
    yield changed
    for layer in layers[:-1]:
        layer.reset_parameters()
    yield changed


def similarity(one, other):
    """Mean rank correlation of the maps of each image; 0 where a map is constant."""
    each = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    return float(np.nan_to_num(each).mean())


@pytest.mark.parametrize("method", METHODS)
def test_the_attribution_lies_on_a_planted_square(trained, method):
    images, targets = draw_squares(16, seed=2)
    heat = attribute(trained, images, targets.tolist(), method)
    on_square = heat[:, :SQUARE, :SQUARE].sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    assert on_square.mean() > 3 * AREA


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_change_the_attribution(trained, method):
    images, targets = draw_squares(16, seed=2)
    before = attribute(trained, images, targets.tolist(), method)
    last_layer, all_layers = (
        similarity(before, attribute(model, images, targets.tolist(), method)) for model in randomised(trained)
    )
    assert last_layer < LAST_LAYER
    assert all_layers < ALL_LAYERS
