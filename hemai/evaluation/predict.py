"""Predictions of checkpoints, for the images of a data set and for images without labels.

One device and no Trainer: several networks see each image once, and memory does not grow with the number of images.
`hemai.split_predictions` is the other way, for a Trainer on several devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hemai.classifier import CellClassifier
from hemai.data import CellDataset
from hemai.data.cache import load_cache, readable_rows
from hemai.data.cell_images import CellImages
from hemai.data.preparation import prepare_images, prepared_shape
from hemai.errors import UserError
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
    rows = readable_rows(cache.errors, table["path"], dataset.root, skip_unreadable)
    targets = table["label"].map({label: i for i, label in enumerate(model.classes)}).to_numpy(np.int64)[rows]
    images = CellImages([cache.images], rows, targets)
    starts = track(range(0, len(images), BATCH), "predicting", total=-(-len(images) // BATCH))
    batches = (
        images[[(0, index) for index in range(start, min(start + BATCH, len(images)))]]["image"] for start in starts
    )
    [logits] = compute_logits([model], batches)
    kept = table.iloc[rows][["path", "label", "group"]].reset_index(drop=True)
    return _predictions(model, kept, logits)


def predict_files(models: Sequence[CellClassifier], files: Mapping[Path, Path]) -> list[Predictions]:
    """Predict images without labels, prepared as for the training of the checkpoints, in float32.

    Each image is read once, for all networks, and nothing is cached: memory does not grow with their number.

    Args:
        models: From checkpoints with one prepare list.
        files: Each with the path that names it, as of `hemai.data.images.find_images`.

    Returns:
        Of each network, with a table of `path` alone.

    Raises:
        UserError: Images that cannot be read, all of them listed, or that cannot be prepared or predicted.
    """
    logits = compute_logits(models, _batches(files, models[0].hparams["facts"]["prepare"]))
    table = pd.DataFrame({"path": [name.as_posix() for name in files.values()]})
    return [_predictions(model, table, of_model) for model, of_model in zip(models, logits, strict=True)]


def compute_logits(models: Sequence[CellClassifier], batches: Iterable[torch.Tensor]) -> list[np.ndarray]:
    """Logits of networks in evaluation mode and float32, on the accelerator if there is one.

    Args:
        models: They are moved there.
        batches: Images, uint8 RGB, (B, 3, height, width); one batch or more.

    Returns:
        Of each network, float64, (N, classes).

    Raises:
        UserError: Images of a size that a network cannot take, or logits that are not finite.
    """
    device: Any = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    models = [model.float().eval().to(device) for model in models]
    parts: list[list[np.ndarray]] = [[] for _ in models]
    with torch.inference_mode():
        for batch in batches:
            images = batch.to(device)
            for model, of_model in zip(models, parts, strict=True):
                of_model.append(_forward(model, images).cpu().double().numpy())
    logits = [np.concatenate(of_model) for of_model in parts]
    for values in logits:
        if (wrong := ~np.isfinite(values).all(axis=1)).any():
            raise UserError(f"the network gives no finite logits for {wrong.sum()} images; is the checkpoint whole?")
    return logits


def _forward(model: CellClassifier, images: torch.Tensor) -> torch.Tensor:
    try:
        logits: torch.Tensor = model(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = images.shape[2:]
        raise UserError(
            f"{model.hparams['backbone']} fails on images of {width} x {height} px ({error}); where its "
            "transform.prepare has no Resize, it takes images of the size that it was trained on"
        ) from error
    return logits


def _batches(files: Mapping[Path, Path], prepare: dict[str, Any]) -> Iterator[torch.Tensor]:
    places, bad = list(files), []
    prepared = prepare_images(places, prepare, prepared_shape(places, prepare))
    named = zip(files.values(), track(prepared, f"predicting {len(files):,} images", total=len(files)), strict=True)
    while batch := list(islice(named, BATCH)):
        bad += [f"  {name}: {error}" for name, (_, error, _) in batch if error]
        if not bad:  # else the others are read, so that all that is wrong is told at once
            yield torch.from_numpy(np.stack([image for _, (image, _, _) in batch])).permute(0, 3, 1, 2)
    if bad:
        listed = "\n".join(bad)
        raise UserError(f"{len(bad):,} of {len(files):,} images are unreadable:\n{listed}\nremove or replace them")


def _predictions(model: CellClassifier, table: pd.DataFrame, logits: np.ndarray) -> Predictions:
    point = {name: model.hparams["facts"].get(name) for name in OPERATING_POINT}
    return Predictions(table, logits, tuple(model.classes), tuple(model.positive), **point)
