"""A first answer before the page opens: libraries and networks are slow only once."""

from __future__ import annotations

import cv2
import numpy as np

from hemai.app.texts import TEXTS
from hemai.app.uploads import Upload
from hemai.app.views import View


def warm_up(view: View) -> None:
    """Answer for a drawn cell, and draw its page."""
    image = np.full((view.answerer.side, view.answerer.side, 3), 230, np.uint8)
    cv2.circle(image, (image.shape[1] // 2, image.shape[0] // 2), image.shape[0] // 5, (140, 45, 95), cv2.FILLED)  # BGR
    upload = Upload("", cv2.imencode(".png", image)[1].tobytes())
    answers = [answer for some in view.answerer.answer([upload], "whole") for answer in some]
    for language in TEXTS:
        view.results(language, answers, 0)
        view.details(language, answers, 0)
