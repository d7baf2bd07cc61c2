"""Predictions of a checkpoint for the images of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hemai.classifier import CellClassifier
from hemai.data import CellDataset
from hemai.data.cache import load_cache
from hemai.data.cell_images import CellImages
from hemai.errors import UserError, some
from hemai.evaluation.class_names import check_class_names
from hemai.evaluation.predictions import Predictions
from hemai.progress import track
from hemai.runs import OPERATING_POINT

BATCH = 64


def predict_dataset(
    model: CellClassifier,
    dataset: CellDataset,
    names: Mapping[str, tuple[str, ...]] | None = None,
    skip_unreadable: bool = False,
) -> Predictions:
    """Predict every image of a data set, prepared as for the training of the checkpoint, in float32.

    Args:
        model: From a checkpoint, whose hyperparameters hold the prepare list.
        dataset: With the classes of the checkpoint, or `names` for them.
        names: Class of the data set -> classes of the checkpoint; see `hemai.evaluation.class_names`. Of several, an
            image is labelled with the first; `merge_classes` then joins them.
        skip_unreadable: Leave images out that cannot be read, instead of stopping.

    Raises:
        UserError: Other classes, images that cannot be read, or logits that are not finite.
    """
    if names is not None:
        check_class_names(names, dataset.classes, model.classes, model.positive)
    elif set(dataset.classes) != set(model.classes):
        raise UserError(
            f"the checkpoint knows the classes {', '.join(model.classes)}, the data {', '.join(dataset.classes)}; "
            "say which is which with --classes 'NAME IN THE DATA: NAME IN THE CHECKPOINT, ...'"
        )
    dataset.check()
    table = dataset.table
    if names is not None:
        table = table.assign(label=table["label"].map({name: places[0] for name, places in names.items()}))
    cache = load_cache(dataset.name, dataset.root, table["path"].tolist(), model.hparams["facts"]["prepare"])
    bad = cache.errors != ""
    if bad.any() and not skip_unreadable:
        raise UserError(
            f"{bad.sum()} unreadable images under {dataset.root}: {some(table['path'][bad])}; "
            "replace them, or go on without them with data.skip_unreadable=true"
        )
    rows = np.flatnonzero(~bad)
    targets = table["label"].map({label: i for i, label in enumerate(model.classes)}).to_numpy(np.int64)[rows]
    images = CellImages([cache.images], rows, targets, None, 0)
    logits = _logits(model, images)
    if (wrong := ~np.isfinite(logits).all(axis=1)).any():
        raise UserError(f"the network gives no finite logits for {wrong.sum()} images; is the checkpoint whole?")
    kept = table.iloc[rows][["path", "label", "group"]].reset_index(drop=True)
    point = {name: model.hparams["facts"].get(name) for name in OPERATING_POINT}
    return Predictions(kept, logits, tuple(model.classes), tuple(model.positive), **point)


def _logits(model: CellClassifier, images: CellImages) -> np.ndarray:
    device: Any = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = model.float().eval().to(device)
    parts = []
    with torch.inference_mode():
        for start in track(range(0, len(images), BATCH), "predicting", total=-(-len(images) // BATCH)):
            batch = images[[(0, index) for index in range(start, min(start + BATCH, len(images)))]]
            parts.append(model(batch["image"].to(device)).cpu().double().numpy())
    return np.concatenate(parts)
