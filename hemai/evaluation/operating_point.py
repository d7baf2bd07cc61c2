"""The threshold and the temperature of a network, chosen on validation images alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import roc_curve

from hemai.evaluation.predictions import Predictions


@dataclass(frozen=True)
class OperatingPoint:
    """How the probabilities of a checkpoint are read.

    Attributes:
        threshold: From this probability of being malignant on, an image is called malignant; None: not chosen.
        threshold_rule: How it was chosen, for the reader.
        temperature: By which logits are divided to make probabilities mean what they say; None: not fitted.
    """

    threshold: float | None
    threshold_rule: str
    temperature: float | None


def choose_operating_point(validation: Predictions | None, rule: str, sensitivity: float) -> OperatingPoint:
    """Choose a threshold by a rule, and fit a temperature.

    Args:
        validation: Predictions of the validation images, if there are any.
        rule: "sensitivity": the highest threshold at which the share `sensitivity` of the malignant images is found.
            "youden": the one with the largest sensitivity + specificity - 1 (Youden 1950; of equal ones the lowest).
            "half": 0.5, whatever the images are.
        sensitivity: 0..1.

    Returns:
        The threshold lies half way between two probabilities, so that rounding on another device changes no call.
        None without validation images, and for the first two rules without images of both kinds.
    """
    temperature = None if validation is None else fit_temperature(validation)
    if rule == "half":
        return OperatingPoint(0.5, "0.5", temperature)
    told = "Youden's index on validation" if rule == "youden" else f"sensitivity {sensitivity:g} on validation"
    if validation is None or not validation.positive or len(set(validation.malignant)) < 2:
        return OperatingPoint(None, f"{told} (not defined: it needs malignant and benign images there)", temperature)
    score, malignant = validation.malignant_probability, validation.malignant
    if rule == "youden":
        wrong, found, scores = roc_curve(malignant, score, drop_intermediate=False)
        gain = (found - wrong).round(12)
        lowest = scores[np.flatnonzero(gain == gain.max())[-1]]
    else:
        # So many malignant images may be missed; the small number forgives 0.95 * 20 > 19.
        missed = int((1 - sensitivity) * malignant.sum() + 1e-9)
        lowest = np.sort(score[malignant])[min(missed, int(malignant.sum()) - 1)]
    below = score[score < lowest]
    return OperatingPoint(float((lowest + below.max(initial=0.0)) / 2), told, temperature)


def fit_temperature(validation: Predictions) -> float:
    """The temperature with the smallest loss, 0.05 to 20.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits, targets = validation.logits, validation.targets

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(targets)), targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
