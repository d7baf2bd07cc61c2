"""Features of a network: what its last layer computes the logits from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from hemai.data.cache import load_cache
from hemai.data.datamodule import CellDataModule
from hemai.models.classifier import CellClassifier
from hemai.utils.errors import UserError

BATCH = 64


def features_of_test_images(model: CellClassifier, data: CellDataModule) -> np.ndarray:
    """Features of the test images of a data module, prepared as the checkpoint says; see `penultimate_features`.

    Args:
        model: Classifier of a checkpoint.
        data: Set up, with test images.
    """
    dataset, prepare = data.dataset, model.hparams["metadata"]["prepare"]
    cache = load_cache(dataset.name, dataset.root, dataset.table["path"].tolist(), prepare, dataset.max_megapixels)
    rows = data.table["row"].to_numpy()[data.rows["test"]]
    parts = (cache.images[rows[start : start + BATCH]] for start in range(0, len(rows), BATCH))
    return penultimate_features(model, (torch.from_numpy(part).permute(0, 3, 1, 2) for part in parts))


def penultimate_features(model: CellClassifier, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Input of the last layer of a network, in eval mode and float32.

    Args:
        model: Classifier; it is moved to the accelerator, if one is available.
        batches: Batches of images, uint8 RGB, (B, 3, height, width); at least one.

    Returns:
        float32, shape (N, features).

    Raises:
        UserError: The network does not name its last layer, as the networks of timm do by `get_classifier()`.
    """
    find_last: Any = getattr(model.backbone, "get_classifier", None)
    last = find_last() if callable(find_last) else None
    if not isinstance(last, nn.Module):
        raise UserError(
            f"{model.hparams['backbone']} does not name its last layer; give it a method get_classifier(), as "
            "networks of timm have, or leave out --run"
        )
    device: Any = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = model.float().eval().to(device)
    found: list[np.ndarray] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1).cpu().numpy()))
    try:
        with torch.inference_mode():
            for batch in batches:
                model.backbone(model.scale(batch.to(device)))
    finally:
        hook.remove()
    return np.concatenate(found)
