"""Attribution methods: how much each pixel of an image adds to the logit of a class.

Integrated gradients are captum's, which chooses the points of a path and splits them into batches. HiResCAM is own code
of a few lines, so that it needs no extra package: captum has its product of activation and gradient, but does not find
the layer, make a grid of tokens or know test-time augmentation. (The package grad-cam needs the build of OpenCV with
windows, which overwrites the one without.)

Left out: Grad-CAM averages the gradient over the image, so where linear layers follow the flattened map, as in
custom_cnn, it missed a planted square that decides the class. Layer-CAM drops negative gradients; in small transformers
that average their tokens, it put less of its map on the square than HiResCAM at the same layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from hemai.attribution.feature_maps import find_feature_map
from hemai.models.classifier import CellClassifier
from hemai.utils.device import find_device
from hemai.utils.errors import UserError, did_you_mean

STEPS = 16  # points of a path of integrated gradients
AT_ONCE = 32  # images in a pass of integrated gradients
BASELINES = (0.0, 255.0)  # black and white


def attribute(
    model: CellClassifier, images: torch.Tensor, targets: Sequence[int] | None = None, method: str = "hires_cam"
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
        UserError: Unknown method, captum is missing, or a network without feature map.
    """
    check_method(method)
    device: Any = find_device()
    model = model.float().eval().to(device)
    pixels = images.to(device).float()
    with torch.no_grad():
        classes = model(pixels).argmax(dim=1) if targets is None else torch.tensor(targets, device=device)
    with torch.enable_grad():
        maps = METHODS[method](model, pixels.requires_grad_(), classes).detach().clamp(min=0)
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return (maps / largest.where(largest > 0, 1)).cpu().numpy()


def check_method(method: str) -> None:
    """Refuse an unknown method, or one whose package is missing.

    Raises:
        UserError: The message says what to do.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method}; expected {' or '.join(METHODS)}{did_you_mean(method, METHODS)}")
    if method == "integrated_gradients" and find_spec("captum") is None:
        raise UserError(f"{method} needs captum: pip install 'hemai[explain]'; without it only hires_cam is there")


def hires_cam(model: CellClassifier, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """HiResCAM: the last feature map times its gradient, summed over its channels; what is positive.

    Source: Draelos & Carin, Use HiResCAM instead of Grad-CAM, 2020 (arXiv 2011.08891).

    Args:
        model: Classifier in eval mode.
        pixels: Float RGB, (B, 3, height, width), 0..255, with gradient.
        targets: Class indices, (B,).

    Returns:
        Float, (B, height, width), 0 or more, enlarged from the feature map.
    """
    features = find_feature_map(model.backbone, model.scale(pixels[:1]))
    with features.record() as activations:
        logits = model(pixels)
    gradients = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), activations)
    maps = []
    for number, (activation, gradient) in enumerate(zip(activations, gradients, strict=True)):
        grid = features.to_grid(activation * gradient).sum(dim=1).clamp(min=0)
        heat = features.enlarge(grid, *pixels.shape[2:])
        # Test-time augmentation makes eight maps, of the views of `flips_and_rotations`: turn them back.
        heat = torch.rot90(heat, -(number % 4), (-2, -1))
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

    path = IntegratedGradients(model)
    parts = [
        path.attribute(pixels, baseline, targets, n_steps=STEPS, internal_batch_size=AT_ONCE) for baseline in BASELINES
    ]
    return torch.stack(parts).mean(dim=0).sum(dim=1)


METHODS: dict[str, Callable[[CellClassifier, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "hires_cam": hires_cam,
    "integrated_gradients": integrated_gradients,
}
