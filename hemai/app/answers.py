"""What a network answers for uploaded images: the numbers of `hemai predict`, and whether they can be relied on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import albumentations as A
import numpy as np
import pandas as pd
import torch

from hemai.app.pictures import encode_jpeg
from hemai.app.uploads import Box, Upload, cut, explain_unreadable
from hemai.attribution.methods import attribute
from hemai.attribution.overlays import overlay
from hemai.data.appearance import distance_to
from hemai.data.image_files import decode_bytes
from hemai.runs.ensemble import pool_probabilities
from hemai.runs.ensemble_threshold import choose_ensemble_point
from hemai.runs.inference import predict_images, prediction_table
from hemai.runs.saved_run import SavedRun
from hemai.transforms.cells import find_cells
from hemai.utils.errors import UserError, one_line

READINGS = ("auto", "whole", "cells")
AT_ONCE = 16  # images or cells between two reports of progress, and between two users
FIELD, SIDE = 2.0, 224  # of a box around a cell, where a checkpoint does not tell those of its training images
SINGLE_CELLS = 1.5  # median number of nuclei below which training images show one cell each
SIMILAR_SIZE = 1.1  # images up to this factor larger or smaller than the training images are read as they are
LONE_CELL = 2.0  # an image with one cell is cut if it is larger than the box of the cell by more than this factor
THUMBNAIL_PX = 96
METHOD = "hires_cam"
SIDES = ("left", "top", "right", "bottom")
NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Answer:
    """The answer for one image or one cell of a smear, or why there is none.

    Attributes:
        upload: The file.
        values: Its row of `hemai.runs.inference.prediction_table`; empty without an answer.
        problem: Key of the text that says why there is no answer; empty otherwise.
        reason: Message of the error behind it, in English; empty otherwise.
        box: Box of a cell in its smear, in pixels; None for a whole image.
        cell: Number of the cell in its smear, from 1; 0 for a whole image.
        cells: Number of cells of the smear.
        size: Width and height of the file in pixels.
        unlike: Whether the image is unlike the training images; None if the checkpoint does not tell.
        thumbnail: Small jpeg.
    """

    upload: Upload
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    reason: str = ""
    box: Box | None = None
    cell: int = 0
    cells: int = 0
    size: tuple[int, int] = (0, 0)
    unlike: bool | None = None
    thumbnail: bytes = b""

    @property
    def verdict(self) -> str:
        """Key of a text: "unsure", "malignant", "benign"; empty without an answer or malignant classes."""
        if self.values.get("abstained") == "yes":
            return "unsure"
        malignant = self.values.get("malignant_at_threshold", self.values.get("malignant"))
        return {"yes": "malignant", "no": "benign"}.get(malignant, "")


class Answerer:
    """A network, or an ensemble, that answers for uploads; one user at a time, for a few images.

    Args:
        runs: One run, or those of an ensemble; see `hemai.runs.ensemble.find_saved_runs`.
    """

    def __init__(self, runs: Sequence[SavedRun]) -> None:
        self.runs, self.models = runs, [run.model for run in runs]
        self.metadata = runs[0].metadata
        self.point = choose_ensemble_point(runs)
        self.appearance: dict[str, Any] | None = self.metadata.get("appearance")
        known = self.appearance or {}
        self.field, self.side = known.get("field") or FIELD, round(known.get("side", SIDE))
        self.reads_cells = known.get("nuclei", np.inf) < SINGLE_CELLS
        self.lock = threading.Lock()

    def answer(self, uploads: Sequence[Upload], reading: str = "auto") -> Iterator[list[Answer]]:
        """Answer for uploads, a few images or cells at a time.

        Args:
            uploads: Files of any kind.
            reading: "whole": each image is one; "cells": each is cut into its cells; "auto": see `boxes`.

        Yields:
            The next answers, in the order of the uploads; also for a file that cannot be read, to say so.
        """
        pieces = (piece for upload in uploads for piece in self._pieces(upload, reading))
        while True:
            with self.lock:  # given back between two lists, so that a user with one image does not wait for 500
                if not (some := list(islice(pieces, AT_ONCE))):
                    return
                answers = self._predict(some)
            yield answers

    def boxes(self, image: np.ndarray, reading: str) -> list[Box | None]:
        """Boxes of the cells that are cut out of an image; `[None]` where it is read whole.

        With "auto", it is cut if the network was trained on single cells, its size is not that of the training images,
        and it shows several cells, or one that is small in it.
        """
        whole: list[Box | None] = [None]
        sides = np.array(image.shape[:2])
        is_like_training = (np.maximum(sides, self.side) <= SIMILAR_SIZE * np.minimum(sides, self.side)).all()
        if reading == "whole" or (reading == "auto" and (not self.reads_cells or is_like_training)):
            return whole
        found: list[Box | None] = [tuple(box) for box in find_cells(image, self.field).tolist()]
        if reading == "cells" or len(found) > 1:
            return found
        is_small = len(found) == 1 and sides.min() > LONE_CELL * (found[0][2] - found[0][0])  # type: ignore[index]
        return found if is_small else whole

    def _pieces(self, upload: Upload, reading: str) -> Iterator[tuple[Answer, np.ndarray]]:
        """Images to classify, with the start of their answers; an empty array where there is none."""
        try:
            image = decode_bytes(upload.content).image
        except ValueError as error:
            yield Answer(upload, problem=explain_unreadable(upload.content, error), reason=str(error)), NOTHING
            return
        size = (image.shape[1], image.shape[0])
        boxes = self.boxes(image, reading)
        if not boxes:
            yield Answer(upload, problem="no_cells", size=size, thumbnail=encode_jpeg(image, THUMBNAIL_PX)), NOTHING
        for number, box in enumerate(boxes, 1):
            piece = cut(image, box, self.side)
            answer = Answer(upload, size=size, thumbnail=encode_jpeg(piece, THUMBNAIL_PX))
            yield (replace(answer, box=box, cell=number, cells=len(boxes)) if box else answer), piece

    def _predict(self, pieces: Sequence[tuple[Answer, np.ndarray]]) -> list[Answer]:
        images = [image for answer, image in pieces if not answer.problem]
        try:
            rows = iter(self.predict(images) if images else [])
        except Exception as error:  # transforms raise errors of several types, such as for an image that is too small
            if len(pieces) > 1:  # the others have answers
                return [answer for piece in pieces for answer in self._predict([piece])]
            return [replace(pieces[0][0], problem="is_not_predicted", reason=one_line(error))]
        return [answer if answer.problem else replace(answer, **next(rows)) for answer, _ in pieces]

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Predict images as `hemai predict` does.

        Args:
            images: uint8 RGB, (height, width, 3).

        Returns:
            `values` and `unlike` of each answer.
        """
        table = prediction_table(pool_probabilities(predict_images(self.models, images), self.point))
        values = table.drop(columns="path").to_dict("records")
        return [{"values": row, "unlike": self.is_unlike(image)} for row, image in zip(values, images, strict=True)]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """An image as the network sees it, uint8 RGB."""
        return np.asarray(A.from_dict(self.metadata["prepare"])(image=image)["image"])

    def attribute(self, image: np.ndarray, label: str) -> np.ndarray | None:
        """What speaks for a class, over the image as the network sees it, uint8 RGB: the mean of the networks.

        Returns:
            None for a network without a map of features.
        """
        prepared = self.prepare(image)
        batch = torch.from_numpy(np.ascontiguousarray(prepared.transpose(2, 0, 1)))[None]
        target = [list(self.models[0].classes).index(label)]
        try:
            with self.lock:  # gradients of one network must not mix
                heat = np.mean([attribute(model, batch, target, METHOD)[0] for model in self.models], axis=0)
        except UserError:
            return None
        return overlay(prepared, heat)

    def is_unlike(self, image: np.ndarray) -> bool | None:
        """Whether an image is unlike the training images; None if the checkpoint does not tell."""
        return None if self.appearance is None else distance_to(self.appearance, self.prepare(image)) > 1


def answers_table(answers: Sequence[Answer]) -> pd.DataFrame:
    """Table of answers to download: the columns of `hemai predict`, cell and box, and what is wrong with an image."""
    table = pd.DataFrame([_row(answer) for answer in answers])
    table = table.astype(dict.fromkeys(("cell", *SIDES), "Int64"))
    last = ["unlike_training_images", "error"]
    return table[[*table.columns.drop(last), *last]]


def _row(answer: Answer) -> dict[str, Any]:
    about = {"path": answer.upload.name, "cell": answer.cell or None}
    box = dict(zip(SIDES, answer.box or [None] * 4, strict=True))
    unlike = {True: "yes", False: "no", None: ""}[answer.unlike]
    wrong = {"unlike_training_images": unlike, "error": answer.reason or answer.problem}
    return {**about, **box, **answer.values, **wrong}
