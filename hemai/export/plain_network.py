"""A classifier as other programs call it: plain images in, logits and probabilities out."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hemai.models.classifier import CellClassifier
from hemai.models.network import flips_and_rotations
from hemai.models.weights import merge_tensors


class PlainNetwork(nn.Module):
    """Network of a classifier with scaling and test-time augmentation inside.

    Images are stacked as cv2, Pillow and numpy read them, so that no caller transposes anything.

    Args:
        model: Classifier; it is copied, its adapters are merged into their weights.
    """

    def __init__(self, model: CellClassifier) -> None:
        super().__init__()
        self.model = merged_copy(model)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and probabilities, float (B, classes), of RGB images, uint8 (B, height, width, 3)."""
        image = images.permute(0, 3, 1, 2)
        if self.model.hparams["test_time_augmentation"] and image.shape[2] == image.shape[3]:
            # One pass over all views: of eight passes each would get integer weights of its own in an int8 file.
            views = torch.cat(flips_and_rotations(image))
            logits = self.model.backbone(self.model.scale(views)).unflatten(0, (8, -1)).mean(dim=0)
        else:
            logits = self.model(image)
        return logits, logits.softmax(dim=1)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (N, classes), of RGB images, uint8 (N, height, width, 3)."""
        with torch.inference_mode():
            return self(torch.from_numpy(images))[1].numpy()


def example(images: np.ndarray) -> torch.Tensor:
    """Two images for an exporter, which would take a batch of one for the only size."""
    return torch.from_numpy(np.resize(images, (2, *images.shape[1:])))


def merged_copy(model: CellClassifier) -> CellClassifier:
    """Copy of a classifier in eval mode on the CPU, whose adapters (parametrized weights) are plain weights."""
    settings = {name: value for name, value in model.hparams.items() if name != "adapter"}
    copy = CellClassifier(**settings | {"weights": None, "pretrained": False})
    copy.load_state_dict(merge_tensors(model.state_dict()))  # a deepcopy would share its class with the original
    # Channels-last strides would become transposes in the exported graph, and safetensors refuses them.
    return copy.eval().to(memory_format=torch.contiguous_format)
