"""Pictures of one answer: its smear, where the network looks, and the stages of the segmentation."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from hemai.app.answers import Answer, Answerer, encode_jpeg
from hemai.app.uploads import decode_piece
from hemai.attribution.methods import attribute
from hemai.attribution.overlays import overlay
from hemai.data.image_files import decode_bytes
from hemai.transforms import SegmentNucleus
from hemai.utils.errors import UserError

LARGE_PX, SMALL_PX = 1000, 320
METHOD = "hires_cam"
OUTLINE = (0, 255, 0)  # no stain is green


@dataclass(frozen=True)
class Pictures:
    """Pictures of an answer, as URLs that hold the picture itself.

    Attributes:
        smear: The smear that a cell is cut from; empty for a whole image.
        views: Key of the caption in the texts -> picture.
        attribution: What the network's own view shows: "" if it is there, else the key of the text why not.
    """

    smear: str
    views: dict[str, str]
    attribution: str


def draw_pictures(answer: Answer, answerer: Answerer, label: str) -> Pictures:
    """Draw the pictures of an answer whose image could be read.

    Args:
        answer: The answer.
        answerer: The network.
        label: Class that the attribution is drawn for.
    """
    image = decode_piece(answer.upload.content, answer.box, answerer.side)
    smear = to_url(decode_bytes(answer.upload.content).image, LARGE_PX) if answer.box else ""
    views, missing = {"view_image": image}, ""
    if answer.values:
        views["view_attribution"], missing = _attribution(image, answerer, label)
    segmentation = SegmentNucleus()
    stages = segmentation.segment(image)
    outlines, _ = cv2.findContours(stages.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlined = cv2.drawContours(image.copy(), outlines, -1, OUTLINE, max(1, min(image.shape[:2]) // 150))
    views |= {
        "view_channel": _stretch(stages.channel),
        "view_clusters": _stretch(stages.clustered),
        "view_outline": outlined,
        "view_nucleus": segmentation.cut(image, stages) if stages.found else np.zeros_like(image),
    }
    return Pictures(smear, {key: to_url(view, SMALL_PX) for key, view in views.items() if view.size}, missing)


def _attribution(image: np.ndarray, answerer: Answerer, label: str) -> tuple[np.ndarray, str]:
    """Attribution of a class over the prepared image: the mean of the networks, or the key of the text why not."""
    prepared = answerer.prepare(image)
    batch = torch.from_numpy(np.ascontiguousarray(prepared.transpose(2, 0, 1)))[None]
    target = [list(answerer.models[0].classes).index(label)]
    try:
        with answerer.lock:  # gradients of one network must not mix
            heat = np.mean([attribute(model, batch, target, METHOD)[0] for model in answerer.models], axis=0)
    except UserError:
        return np.empty(0, np.uint8), "no_attribution"
    return overlay(prepared, heat), ""


def _stretch(channel: np.ndarray) -> np.ndarray:
    """A grey picture from black to white."""
    return cv2.normalize(channel, np.empty_like(channel), 0, 255, cv2.NORM_MINMAX)


def to_url(image: np.ndarray, most_px: int) -> str:
    """Jpeg of an image, RGB or grey, as a `data:` URL."""
    colours = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return url_of_jpeg(encode_jpeg(colours, most_px))


def url_of_jpeg(jpeg: bytes) -> str:
    """A jpeg as a `data:` URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
