"""Pictures of the page: stages of the segmentation, and images as URLs that hold the image itself."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from hemai.transforms import SegmentNucleus

LARGE_PX, SMALL_PX = 1000, 320
OUTLINE = (0, 255, 0)  # no stain is green


def draw_stages(image: np.ndarray) -> dict[str, np.ndarray]:
    """Stages of the segmentation of an image, by the key of their caption in the texts.

    Args:
        image: uint8 RGB, (height, width, 3).
    """
    segmentation = SegmentNucleus()
    stages = segmentation.segment(image)
    outlines, _ = cv2.findContours(stages.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlined = cv2.drawContours(image.copy(), outlines, -1, OUTLINE, max(1, min(image.shape[:2]) // 150))
    return {
        "view_channel": _stretch(stages.channel),
        "view_clusters": _stretch(stages.clustered),
        "view_outline": outlined,
        "view_nucleus": segmentation.cut(image, stages) if stages.found else np.zeros_like(image),
    }


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


def encode_jpeg(image: np.ndarray, most_px: int) -> bytes:
    """Jpeg of an image, uint8 RGB, whose longer side is reduced to `most_px`."""
    scale = min(1.0, most_px / max(image.shape[:2]))
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
