"""Networks trained on images whose class is only the colour of a square in a corner."""

import torch
import torch.nn.functional as F

from hemai.models.classifier import CellClassifier

SIDE, SQUARE = 64, 12  # px
AREA = SQUARE**2 / SIDE**2
TRANSFORMER = {"img_size": SIDE, "patch_size": 8, "depth": 3, "embed_dim": 48, "num_heads": 3}
NETWORKS = {
    "custom_cnn": ("custom_cnn", {"img_size": SIDE}),
    "class token": ("vit_tiny_patch16_224", TRANSFORMER),
    "mean of tokens": ("vit_tiny_patch16_224", TRANSFORMER | {"global_pool": "avg", "class_token": False}),
    "resnet10t": ("resnet10t", {}),
}


def draw_squares(count, seed=0):
    """Noise with a red (class 0) or blue (class 1) square in the upper left corner, uint8; and the classes."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(60, 200, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=random)
    targets = torch.arange(count) % 2
    colours = torch.tensor([[220, 30, 30], [30, 30, 220]], dtype=torch.uint8)[targets]
    images[:, :, :SQUARE, :SQUARE] = colours[:, :, None, None]
    return images, targets


def train_on_squares(name):
    """Train a small network until it tells the squares apart."""
    torch.manual_seed(0)
    backbone, options = NETWORKS[name]
    model = CellClassifier(backbone, ["red", "blue"], image_size=SIDE, options=options)
    images, targets = draw_squares(256)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(5):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), targets[batch]).backward()
            optimizer.step()
    model.eval()
    unseen, expected = draw_squares(64, seed=1)
    with torch.no_grad():
        assert (model(unseen).argmax(dim=1) == expected).all()
    return model
