"""The small network of the HEMAI report."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn


class CustomCNN(nn.Module):
    """The network of the HEMAI report: four convolutions with max pooling, then two linear layers.

    The 3x3 convolutions (8, 16, 32, 64 filters) are unpadded, each with ReLU and 2x2 max pooling; 100 units
    follow. 255,230 parameters with two classes at 128 x 128. The names in the state dict are the report's.
    Differs from the report: returns logits, not their log-softmax (the loss applies it; the order of the
    classes by probability is the same), and leaves scaling to the caller.

    Args:
        num_classes: Number of outputs.
        in_chans: Number of colour channels.
        img_size: Height and width of the input in pixels, 46 or more: one number, or two.
        drop_rate: Dropout after the 100 units; 0.25 in the report's code, 0.3 in its text.

    Attributes:
        feature_grid_px: Where the last feature map, the output of conv4, lies in the image, as nothing is padded: it
            begins 15 px from the left and the top, and has a unit every 8 px.

    Raises:
        ValueError: `img_size` leaves no pixel after the four poolings.
    """

    feature_grid_px = (15, 8)

    def __init__(
        self, num_classes: int = 2, in_chans: int = 3, img_size: int | tuple[int, int] = 128, drop_rate: float = 0.25
    ) -> None:
        super().__init__()
        height, width = to_2tuple(img_size)
        for _ in range(4):
            height, width = (height - 2) // 2, (width - 2) // 2
        if min(height, width) < 1:
            raise ValueError(f"image_size={img_size} is too small for custom_cnn; expected 46 or more")
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features = 100
        self.conv1 = nn.Conv2d(in_chans, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.conv4 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * height * width, self.num_features)
        self.fc2 = nn.Linear(self.num_features, num_classes)

    def get_classifier(self) -> nn.Module:
        """Layer from features to class logits, by the method name of timm's networks."""
        return self.fc2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, (B, num_classes), of scaled images, float (B, in_chans, img_size, img_size)."""
        features = image
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            # Pooling first gives the same numbers (ReLU keeps their order) on a quarter of the pixels.
            features = F.relu(F.max_pool2d(conv(features), 2))
        hidden = F.relu(self.fc1(features.flatten(1)))
        return self.fc2(F.dropout(hidden, self.drop_rate, self.training))


default_cfgs = generate_default_cfgs(
    {
        "custom_cnn": {
            "input_size": (3, 128, 128),
            "interpolation": "area",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "num_classes": 2,
            "first_conv": "conv1",
            "classifier": "fc2",
        }
    }
)


@register_model
def custom_cnn(pretrained: bool = False, **options: Any) -> nn.Module:
    """Create a `CustomCNN`, as `timm.create_model("custom_cnn", num_classes=2, img_size=128)` does.

    Raises:
        ValueError: `pretrained` is true, and no exported run is loaded; the report published no weights.
    """
    if pretrained and not options.get("pretrained_cfg"):
        raise ValueError("custom_cnn has no published weights")
    return build_model_with_cfg(CustomCNN, "custom_cnn", pretrained, **options)
