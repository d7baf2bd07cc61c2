"""Predict a data set, or images without labels, with checkpoints.

One device and no Trainer: several networks share one pass, and memory does not grow with the number of images.
`hemai.training.result` predicts with a Trainer, on several devices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pandas as pd
import torch

from hemai.data.batches import CellImages
from hemai.data.cache import load_cache, readable_rows
from hemai.data.dataset import CellDataset
from hemai.data.images import find_images, prepare_images, prepared_shape
from hemai.evaluation.class_mapping import check_class_names
from hemai.evaluation.predictions import OPERATING_POINT, Predictions
from hemai.evaluation.prevalence import PriorShift
from hemai.models.classifier import CellClassifier
from hemai.runs.logits import compute_logits
from hemai.utils.errors import UserError
from hemai.utils.terminal import track

BATCH = 32
Images = str | os.PathLike[str] | np.ndarray | Iterable[str | os.PathLike[str]] | Iterable[np.ndarray]


def predict_dataset(
    model: CellClassifier,
    dataset: CellDataset,
    names: Mapping[str, tuple[str, ...]] | None = None,
    skip_unreadable: bool = False,
) -> Predictions:
    """Predict every image of a data set, prepared as for training, in float32.

    Args:
        model: Classifier of a checkpoint; its hyperparameters hold the prepare list.
        dataset: Data set with the classes of the checkpoint, unless `names` maps them.
        names: Class of the data set -> classes of the checkpoint; see `read_class_names`. If it maps to several, an
            image is labelled with the first; `merge_classes` then joins them.
        skip_unreadable: Skip images that cannot be read, instead of stopping.

    Raises:
        UserError: Other classes, images that cannot be read, or logits that are not finite.
    """
    if names is not None:
        check_class_names(names, dataset.classes, model.classes, model.positive)
    elif set(dataset.classes) != set(model.classes):
        raise UserError(
            f"the checkpoint has the classes {', '.join(model.classes)}, the data {', '.join(dataset.classes)}; "
            "map them with --classes 'NAME IN THE DATA: NAME IN THE CHECKPOINT, ...'"
        )
    dataset.check()
    table = dataset.table
    if names is not None:
        table = table.assign(label=table["label"].map({name: mapped[0] for name, mapped in names.items()}))
    prepare = model.hparams["metadata"]["prepare"]
    cache = load_cache(dataset.name, dataset.root, table["path"].tolist(), prepare, dataset.max_megapixels)
    rows = readable_rows(cache.errors, table["path"], dataset.root, skip_unreadable)
    targets = table["label"].map({label: i for i, label in enumerate(model.classes)}).to_numpy(np.int64)[rows]
    images = CellImages([cache.images], rows, targets)
    starts = track(range(0, len(images), BATCH), "predicting", total=-(-len(images) // BATCH))
    batches = (
        images[[(0, index) for index in range(start, min(start + BATCH, len(images)))]]["image"] for start in starts
    )
    [logits] = compute_logits([model], batches)
    kept = table.iloc[rows][["path", "label", "group"]].reset_index(drop=True)
    return replace(as_predictions(model, kept, logits), group_kind=dataset.group_kind)


def predict_images(models: Sequence[CellClassifier], images: Images) -> list[Predictions]:
    """Predict images without labels, prepared as for training, in float32.

    Each image is read once for all networks and not cached, so memory does not grow with the number of images.

    Args:
        models: Classifiers of checkpoints that share one prepare list.
        images: A file, a folder, a pattern, or several of them, see `hemai.data.images.find_images`; or arrays, uint8
            RGB, (height, width, 3), which are named by their index.

    Returns:
        Predictions of each network; their tables have only the column `path`.

    Raises:
        UserError: Images that cannot be read, all of them listed, or that cannot be prepared or predicted.
    """
    prepare = models[0].hparams["metadata"]["prepare"]
    sources = _listed(images)
    if sources and isinstance(sources[0], np.ndarray):
        names = [str(number) for number in range(len(sources))]
        batches = _batches_of_arrays(sources, prepare)
    else:
        files = find_images([str(source) for source in sources])
        names = [name.as_posix() for name in files.values()]
        batches = _batches_of_files(list(files), names, prepare)
    table, logits = pd.DataFrame({"path": names}), compute_logits(models, batches)
    return [as_predictions(model, table, of_model) for model, of_model in zip(models, logits, strict=True)]


def _listed(images: Any) -> list[Any]:
    """The images as a list of paths, or of arrays."""
    expected = "expected paths, or uint8 RGB arrays of shape (height, width, 3), such as np.asarray(image)"
    is_single = isinstance(images, (str, os.PathLike)) or (isinstance(images, np.ndarray) and images.ndim == 3)
    refused = isinstance(images, (bytes, Mapping, torch.Tensor)) or not isinstance(images, Iterable)
    if not is_single and (refused or getattr(images, "ndim", 1) == 0):
        raise UserError(f"images: found {type(images).__name__}, {expected}")
    sources = [images] if is_single else list(images)
    kinds = {np.ndarray if isinstance(source, np.ndarray) else type(source) for source in sources}
    if other := [kind for kind in kinds if not issubclass(kind, (str, os.PathLike, np.ndarray))]:
        raise UserError(f"images: found a list with {other[0].__name__}, {expected}")
    if np.ndarray in kinds and len(kinds) > 1:
        raise UserError("images: found paths and arrays in one list; predict them one after the other")
    return sources


def _batches_of_files(files: Sequence[Path], names: Sequence[str], prepare: dict[str, Any]) -> Iterator[torch.Tensor]:
    bad: list[str] = []
    prepared = prepare_images(files, prepare, prepared_shape(files, prepare), checksum=False)
    named = zip(names, track(prepared, f"predicting {len(files):,} images", total=len(files)), strict=True)
    while batch := list(islice(named, BATCH)):
        bad += [f"  {name}: {each.error}" for name, each in batch if each.error]
        if not bad:  # otherwise only read on, so that the error lists all bad images
            yield as_batch([each.image for _, each in batch])
    if bad:
        listed = "\n".join(bad)
        raise UserError(f"{len(bad):,} of {len(files):,} images are unreadable:\n{listed}\nremove or replace them")


def _batches_of_arrays(arrays: Sequence[np.ndarray], prepare: dict[str, Any]) -> Iterator[torch.Tensor]:
    compose = A.from_dict(prepare)
    for start in range(0, len(arrays), BATCH):
        images = []
        for number, array in enumerate(arrays[start : start + BATCH], start):
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
                raise UserError(
                    f"image {number}: {array.dtype} of shape {array.shape}, expected uint8 RGB, (height, width, 3)"
                )
            images.append(compose(image=array)["image"])
        yield as_batch(images)


def as_batch(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Batch for a network, uint8, (B, 3, height, width), of images of shape (height, width, 3)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def as_predictions(model: CellClassifier, table: pd.DataFrame, logits: np.ndarray) -> Predictions:
    """Predictions of a network, with the operating point of its checkpoint."""
    point = {name: model.hparams["metadata"].get(name) for name in OPERATING_POINT}
    kind = model.hparams["metadata"]["group_kind"]
    return Predictions(table, logits, tuple(model.classes), tuple(model.positive), **point, group_kind=kind)


def prediction_table(predictions: Predictions, shift: PriorShift | None = None) -> pd.DataFrame:
    """Readable table of the predictions of unlabelled images.

    Args:
        predictions: Predictions as learned.
        shift: Adjustment of probabilities and threshold to another prevalence. Abstention stays as learned.

    Returns:
        One row per image: `path`, `predicted`; with positive classes `malignant` (yes or no, at a probability of 0.5
        or more) and `malignant_at_threshold` (if the checkpoints have a threshold); `probability/<class>`; with a
        temperature also `calibrated_probability` (of malignancy) and `abstained` (yes or no, if the checkpoint has the
        rule, see `hemai.evaluation.operating_point.choose_confidence`).
    """
    calibrated, abstained = predictions.calibrated, predictions.abstained
    if shift is not None:
        predictions, calibrated = shift.adjust(predictions), calibrated and shift.adjust(calibrated)
    table = predictions.table.assign(predicted=predictions.predicted)
    thresholds = {"malignant": 0.5, "malignant_at_threshold": predictions.threshold} if predictions.positive else {}
    for column, threshold in thresholds.items():
        if threshold is not None:
            table[column] = np.where(predictions.malignant_probability >= threshold, "yes", "no")
    for label, probabilities in zip(predictions.classes, predictions.probabilities.T, strict=True):
        table[f"probability/{label}"] = probabilities
    if calibrated is not None and predictions.positive:
        table["calibrated_probability"] = calibrated.malignant_probability
    if abstained is not None:
        table["abstained"] = np.where(abstained, "yes", "no")
    return table
