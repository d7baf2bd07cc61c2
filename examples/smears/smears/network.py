"""A network of one's own."""

from torch import nn


def tiny_net(num_classes: int, width: int = 8) -> nn.Module:
    """Two convolutions and global average pooling, for images of any size.

    Args:
        num_classes: Number of outputs.
        width: Channels of the first convolution.
    """
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, num_classes),
    )  # fmt: skip
