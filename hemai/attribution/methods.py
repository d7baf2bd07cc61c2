"""Attribution methods: how much each pixel of an image adds to the logit of a class.

captum computes the gradients: it hooks any layer, splits a path into batches, and tests check its numbers. Own code is
only what it lacks: the layer is found, tokens become a grid, and the views of test-time augmentation are turned back.
(The package grad-cam needs the build of OpenCV with windows, which overwrites the one without.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hemai.attribution.feature_maps import find_feature_map
from hemai.models.classifier import CellClassifier
from hemai.models.network import flips_and_rotations
from hemai.utils.errors import UserError, did_you_mean

STEPS = 16  # points of a path of integrated gradients
AT_ONCE = 32  # images in a pass of integrated gradients
BASELINES = (0.0, 255.0)  # black and white


def attribute(
    model: CellClassifier, images: torch.Tensor, targets: Sequence[int] | None = None, method: str = "layer_cam"
) -> np.ndarray:
    """Compute how much each pixel adds to the logit of a class.

    Args:
        model: Classifier; it is moved to the accelerator, if one is available.
        images: Prepared images, uint8 RGB, (B, 3, height, width).
        targets: Index of the class of each image; None: the predicted one.
        method: One of `METHODS`.

    Returns:
        float32, (B, height, width), 0 or more, the maximum of each image 1; all 0 where nothing speaks for the class.

    Raises:
        UserError: captum is not installed, unknown method, or a network without feature map.
    """
    check_method(method)
    device: Any = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = model.float().eval().to(device)
    pixels = images.to(device).float()
    with torch.no_grad():
        classes = model(pixels).argmax(dim=1) if targets is None else torch.tensor(targets, device=device)
    with torch.inference_mode(False), torch.enable_grad():
        maps = METHODS[method](model, pixels, classes).detach().clamp(min=0)
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return (maps / largest.where(largest > 0, 1)).float().cpu().numpy()


def check_method(method: str) -> None:
    """Refuse an unknown method, or any method without captum.

    Raises:
        UserError: The message says what to do.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}; expected {' or '.join(METHODS)}{did_you_mean(method, METHODS)}")
    if not has_captum():
        raise UserError("attribution needs captum; install it: pip install 'hemai[explain]'")


def has_captum() -> bool:
    """Whether captum is installed, which all methods need."""
    return find_spec("captum") is not None


def layer_cam(model: CellClassifier, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Layer-CAM: positive products of activation and gradient in the last feature map, summed over its channels.

    Source: Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30 (2021). Differs where activations may be
    negative (not after a ReLU): a negative one with a negative gradient counts too, as it adds to the logit as well.

    Args:
        model: Classifier in eval mode.
        pixels: Float RGB, (B, 3, height, width), 0..255.
        targets: Class indices, (B,).

    Returns:
        Float, (B, height, width), enlarged from the feature map by bilinear interpolation.
    """
    from captum.attr import LayerGradientXActivation

    is_augmented = model.hparams["test_time_augmentation"]
    views = flips_and_rotations(pixels) if is_augmented else [pixels]
    maps = []
    for number, view in enumerate(views):
        features = find_feature_map(model.backbone, model.scale(view[:1]))
        products = LayerGradientXActivation(lambda image: model.backbone(model.scale(image)), features.layer).attribute(
            view, target=targets, attribute_to_layer_input=features.is_input
        )
        grid = features.to_grid(products).clamp(min=0).sum(dim=1, keepdim=True)
        heat = F.interpolate(grid, view.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        heat = torch.rot90(heat, -(number % 4), (-2, -1))  # the way back from `flips_and_rotations`
        maps.append(heat.flip(-1) if number >= 4 else heat)
    return torch.stack(maps).mean(dim=0)


def integrated_gradients(model: CellClassifier, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Integrated gradients, mean of a black and a white baseline, summed over the colours.

    With one baseline, pixels of its colour get 0 by construction, such as the background of cells cut out on black.
    The sum over all pixels is the logit of the image less the mean logit of a black and a white image.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017 (arXiv 1703.01365).

    Args:
        model: Classifier in eval mode.
        pixels: Float RGB, (B, 3, height, width), 0..255.
        targets: Class indices, (B,).

    Returns:
        Float, (B, height, width), also negative.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    parts = [
        method.attribute(pixels, baseline, targets, n_steps=STEPS, internal_batch_size=AT_ONCE)
        for baseline in BASELINES
    ]
    return torch.stack(parts).mean(dim=0).sum(dim=1)


METHODS: dict[str, Callable[[CellClassifier, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "layer_cam": layer_cam,
    "integrated_gradients": integrated_gradients,
}
