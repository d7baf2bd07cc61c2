"""Adjustment of probabilities to another prevalence than that of the training images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from hemai.evaluation.predictions import Predictions


@dataclass(frozen=True)
class PriorShift:
    """Shift from the prevalence that a network has learned to that of the images it meets.

    Attributes:
        learned: Fraction of malignant images in training, above 0 and below 1; of several networks that were tested on
            images of their own that of each image's network, shape (N,).
        stated: Fraction of malignant images where the network is used, above 0 and below 1.
    """

    learned: float | np.ndarray
    stated: float

    def adjust(self, predictions: Predictions) -> Predictions:
        """Multiply the odds of malignancy, and those of the threshold, by the ratio of the prior odds.

        Which images reach the threshold does not change; which reach 0.5 does. The temperature, which calibrates at the
        learned prevalence, is dropped.

        Source: Saerens, Latinne & Decaestecker, Neural Comput. 14 (2002) 21: it holds where malignant images look like
        those in training, and benign ones too.
        """
        shift = logit(self.stated) - logit(self.learned)
        is_positive = np.isin(predictions.classes, predictions.positive)
        threshold = None if predictions.threshold is None else expit(logit(predictions.threshold) + shift)
        return replace(
            predictions,
            logits=predictions.logits + np.reshape(shift, (-1, 1)) * is_positive,
            threshold=threshold,
            temperature=None,
        )
