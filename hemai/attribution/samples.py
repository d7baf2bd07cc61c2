"""Explain some of the test images of a run, drawn evenly."""

from __future__ import annotations

from collections.abc import Sequence

import albumentations as A
import numpy as np
import pandas as pd

from hemai.attribution.explanation import Explanation, explain_images
from hemai.attribution.regions import prepare_with_regions
from hemai.data.dataset import CellDataset
from hemai.data.images import read_image
from hemai.models.classifier import CellClassifier

BATCH = 32


def draw_evenly(table: pd.DataFrame, most: int, seed: int = 0) -> np.ndarray:
    """Draw images so that classes, and within them groups, take turns.

    Args:
        table: Columns `label` and `group`.
        most: Number of images to draw; all if there are fewer.
        seed: Seed of the order of the images.

    Returns:
        Positions in the table, int64, in the order in which they are drawn.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    shuffled = table[["label", "group"]].iloc[order].reset_index(drop=True)
    turn_of_group = shuffled.groupby(["label", "group"]).cumcount()
    by_group = np.argsort(turn_of_group.to_numpy(), kind="stable")
    turn_of_class = shuffled.iloc[by_group].groupby("label").cumcount()
    return order[by_group[np.argsort(turn_of_class.to_numpy(), kind="stable")]][:most]


def explain_dataset(
    model: CellClassifier, dataset: CellDataset, paths: Sequence[str], methods: Sequence[str]
) -> list[Explanation]:
    """Explain images of a data set, prepared as the checkpoint says.

    Args:
        model: Classifier of a checkpoint.
        dataset: Source of the images.
        paths: Paths relative to its root.
        methods: Names of `hemai.attribution.methods.METHODS`.

    Raises:
        UserError: A method that cannot be used.
    """
    prepare = A.from_dict(model.hparams["metadata"]["prepare"])
    explanations: list[Explanation] = []
    for start in range(0, len(paths), BATCH):
        originals = [read_image(dataset.root / path, dataset.max_megapixels) for path in paths[start : start + BATCH]]
        images, regions = zip(*(prepare_with_regions(image, prepare) for image in originals), strict=True)
        explanations += explain_images(model, images, regions, methods)
    return explanations
