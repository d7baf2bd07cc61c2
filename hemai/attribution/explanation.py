"""Explain images: prediction, attributions and their regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from hemai.attribution.methods import attribute
from hemai.attribution.overlays import overlay
from hemai.attribution.regions import REGIONS, measure_regions
from hemai.models.classifier import CellClassifier
from hemai.runs.inference import compute_logits

OUTLINES = {"nucleus": (0, 255, 0), "cytoplasm": (255, 255, 0)}  # RGB; no stain is green or yellow
GAP_PX = 4  # white, between the panels of a strip


@dataclass(frozen=True)
class Explanation:
    """What a network says of an image, and which pixels speak for it.

    Attributes:
        image: As the network sees it, uint8 RGB, (height, width, 3).
        regions: See `hemai.attribution.regions.find_regions`.
        predicted, explained: Class names.
        probability: Of the explained class.
        maps: Method -> attribution, float, (height, width), 0 to 1.
    """

    image: np.ndarray
    regions: np.ndarray
    predicted: str
    explained: str
    probability: float
    maps: dict[str, np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """One row per method: classes, probability, and the fractions of `measure_regions`."""
        facts = {"predicted": self.predicted, "explained": self.explained, "probability": self.probability}
        return [facts | {"method": name} | measure_regions(heat, self.regions) for name, heat in self.maps.items()]

    def strip(self) -> np.ndarray:
        """Image, its regions (outlines of nucleus and cell), and one overlay per method, side by side; uint8 RGB."""
        outlined = self.image.copy()
        for name, colour in reversed(OUTLINES.items()):
            # The outline of the cytoplasm is that of the cell, so the nucleus belongs to it.
            mask = (self.regions == REGIONS[name]) | (self.regions == REGIONS["nucleus"])
            outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(outlined, outlines, -1, colour, 1)
        panels = [self.image, outlined, *(overlay(self.image, heat) for heat in self.maps.values())]
        gap = np.full((len(self.image), GAP_PX, 3), 255, np.uint8)
        return np.hstack([part for panel in panels for part in (panel, gap)][:-1])


def explain_images(
    model: CellClassifier,
    images: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    methods: Sequence[str],
    target: int | None = None,
) -> list[Explanation]:
    """Explain a batch of prepared images.

    Args:
        model: Classifier of a checkpoint.
        images: uint8 RGB, (height, width, 3), all of one size.
        regions: Map of regions of each image.
        methods: Names of `hemai.attribution.methods.METHODS`.
        target: Index of the class to explain; None: the predicted one.

    Raises:
        UserError: A method that cannot be used, or images of a size that the network cannot take.
    """
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    [logits] = compute_logits([model], [batch])
    predicted = logits.argmax(axis=1)
    targets = predicted if target is None else np.full_like(predicted, target)
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()[np.arange(len(images)), targets]
    maps = {method: attribute(model, batch, targets.tolist(), method) for method in methods}
    return [
        Explanation(
            image,
            regions[number],
            model.classes[predicted[number]],
            model.classes[targets[number]],
            float(probabilities[number]),
            {method: heat[number] for method, heat in maps.items()},
        )
        for number, image in enumerate(images)
    ]
