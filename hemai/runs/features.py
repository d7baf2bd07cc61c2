"""Features of a network: what its last layer computes the logits from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hemai.data.cache import Cache, cache_root, load_cache
from hemai.data.datamodule import CellDataModule
from hemai.models.classifier import CellClassifier
from hemai.models.network import flips_and_rotations
from hemai.utils.checksums import check_files
from hemai.utils.device import find_device
from hemai.utils.errors import UserError
from hemai.utils.files import build_folder
from hemai.utils.terminal import track

BATCH = 16  # larger ones are no faster on a CPU: their activations are too large for malloc to keep
FILE = "features.npy"
VERSION = 1  # of the cached features; raise it when they are computed in another way


def features_of_test_images(model: CellClassifier, data: CellDataModule) -> np.ndarray:
    """Features of the test images of a data module, prepared as the checkpoint says; see `penultimate_features`.

    Args:
        model: Classifier of a checkpoint.
        data: Set up, with test images.
    """
    dataset, prepare = data.dataset, model.hparams["metadata"]["prepare"]
    cache = load_cache(dataset.name, dataset.root, dataset.table["path"].tolist(), prepare, dataset.max_megapixels)
    return penultimate_features(model, _batches(cache.images, data.table["row"].to_numpy()[data.rows["test"]]))


def cached_features(model: CellClassifier, cache: Cache) -> np.ndarray:
    """Features of all images of a cache, computed once for each network, its weights and the images.

    The last layer plays no part, so all splits and all last layers share them.

    Args:
        model: Classifier; see `penultimate_features`.
        cache: Prepared images.

    Returns:
        float32, shape (images, features); those of an unreadable image belong to a black one.
    """
    folder, count = cache_root() / "features" / f"{cache.folder.name}-{_fingerprint(model)}", len(cache.images)
    if (found := _read(folder, count)) is not None:
        return found
    shutil.rmtree(folder, ignore_errors=True)  # damaged
    batches = track(_batches(cache.images, np.arange(count)), "computing features", total=-(-count // BATCH))
    features = penultimate_features(model, batches)
    with build_folder(folder, features.nbytes, "set HEMAI_CACHE to another folder") as part:
        np.save(part / FILE, features)
        check_files(part, [FILE])
    return features


def _read(folder: Path, count: int) -> np.ndarray | None:
    """Features that were stored before; None if there are none, or if they are damaged."""
    try:
        check_files(folder, [FILE])
        features = np.load(folder / FILE, mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):
        return None
    return features if len(features) == count else None


def _fingerprint(model: CellClassifier) -> str:
    """Hash of all that the features follow from, the images aside."""
    hparams, last = model.hparams, last_layer(model)
    unused = {tensor.data_ptr() for tensor in last.state_dict().values()}
    described = [VERSION, hparams["backbone"], hparams["options"], hparams["test_time_augmentation"]]
    digest = hashlib.sha256(json.dumps(described, default=str).encode())
    tensors = {**dict(model.scale.named_buffers()), **model.backbone.state_dict()}
    for name, tensor in tensors.items():
        if tensor.data_ptr() not in unused:
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _batches(images: np.ndarray, rows: Sequence[int] | np.ndarray) -> Iterable[torch.Tensor]:
    parts = (images[rows[start : start + BATCH]] for start in range(0, len(rows), BATCH))
    return (torch.from_numpy(part).permute(0, 3, 1, 2) for part in parts)


def last_layer(model: CellClassifier) -> nn.Module:
    """The layer that computes the logits.

    Raises:
        UserError: The network does not name it, as the networks of timm do by `get_classifier()`.
    """
    find_last: Any = getattr(model.backbone, "get_classifier", None)
    last = find_last() if callable(find_last) else None
    if not isinstance(last, nn.Module):
        raise UserError(
            f"{model.hparams['backbone']} does not name its last layer, so its features are unknown; give it a method "
            "get_classifier(), as networks of timm have"
        )
    return last


def penultimate_features(model: CellClassifier, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Input of the last layer of a network, in eval mode and float32.

    With `test_time_augmentation` it is the mean over the flips and rotations: a linear last layer makes the same logits
    of the mean.

    Args:
        model: Classifier; it is moved to the accelerator, if one is available.
        batches: Batches of images, uint8 RGB, (B, 3, height, width); at least one.

    Returns:
        float32, shape (N, features).

    Raises:
        UserError: The network does not name its last layer.
    """
    last = last_layer(model)
    device: Any = find_device()
    model = model.float().eval().to(device)
    views: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: views.append(inputs[0].flatten(1)))
    found: list[np.ndarray] = []
    try:
        with torch.inference_mode():
            for batch in batches:
                images = batch.to(device)
                for view in flips_and_rotations(images) if model.hparams["test_time_augmentation"] else [images]:
                    model.backbone(model.scale(view))
                found.append(torch.stack(views).mean(dim=0).cpu().numpy())
                views.clear()
    finally:
        hook.remove()
    return np.concatenate(found)
