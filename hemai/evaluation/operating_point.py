"""Choice of the operating point on validation images: decision threshold, temperature, and when to abstain."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import roc_curve

from hemai.evaluation.calibration import fit_slope_and_intercept, fit_temperature
from hemai.evaluation.intervals import FEW_GROUPS
from hemai.evaluation.posterior import MIDPOINTS, proportion_posterior
from hemai.evaluation.predictions import Predictions

ABSTAIN_FRACTION = 0.1  # a coverage of 0.9 on the risk-coverage curve of validation


@dataclass(frozen=True)
class OperatingPoint:
    """Decision threshold and calibration temperature of a checkpoint, and when it abstains.

    Attributes:
        threshold: Probability of malignancy from which an image is predicted malignant, 0..1; None: not chosen.
        threshold_rule: How the threshold was chosen, in words.
        temperature: Divisor of the logits that calibrates the probabilities; None: not fitted.
        threshold_sensitivity: Fraction of the malignant validation images that reach the threshold; None without one.
        threshold_images: Number of malignant validation images behind the threshold.
        threshold_groups: Number of their groups, such as patients.
        recalibration: Slope and intercept of `hemai.evaluation.calibration.fit_slope_and_intercept`; None: not fitted.
        abstain_below: See `choose_confidence`; None: not chosen.
    """

    threshold: float | None
    threshold_rule: str
    temperature: float | None
    threshold_sensitivity: float | None = None
    threshold_images: int = 0
    threshold_groups: int = 0
    recalibration: tuple[float, float] | None = None
    abstain_below: float | None = None


def choose_operating_point(
    validation: Predictions | None,
    rule: str,
    sensitivity: float,
    confidence: float | None = None,
    source: str = "validation",
) -> OperatingPoint:
    """Choose the threshold by a rule, fit the calibration, and choose when to abstain.

    Args:
        validation: Predictions of the validation images, if any.
        rule: "sensitivity": the highest threshold that finds the fraction `sensitivity` of the malignant images.
            "youden": the one with the largest sensitivity + specificity - 1 (Youden 1950; the lowest of several).
            "half": 0.5, whatever the images.
        sensitivity: Target of the first rule, 0..1.
        confidence: Probability, 0.5..0.99, with which the first rule must also reach its target in new groups, such as
            patients: that of the posterior of the sensitivity, see `hemai.evaluation.posterior`. None: not asked.
        source: What the validation images are, for the words of the rule.

    Returns:
        The threshold lies half way between two probabilities, so that rounding on another device changes no prediction.
        For the first two rules it is None unless validation holds malignant and benign images; with `confidence` also
        below five malignant groups, and where no threshold reaches the target. Nothing is fitted without
        validation images.
    """
    threshold, text = (0.5, "0.5") if rule == "half" else _choose(validation, rule, sensitivity, confidence, source)
    if validation is None:
        return OperatingPoint(threshold, text, None)
    line, temperature = fit_slope_and_intercept(validation), fit_temperature(validation)
    least = choose_confidence(replace(validation, temperature=temperature))
    point = OperatingPoint(threshold, text, temperature, recalibration=line, abstain_below=least)
    if threshold is None or not validation.malignant.any():
        return point
    found = validation.malignant_probability[validation.malignant] >= threshold
    groups = int(validation.table["group"][validation.malignant].nunique())
    return replace(
        point, threshold_sensitivity=float(found.mean()), threshold_images=len(found), threshold_groups=groups
    )


def choose_confidence(validation: Predictions) -> float | None:
    """Choose the confidence below which a network abstains: the quantile of 10 % of the validation images.

    It is fixed here, before the test: of test images the same rule would choose those that the network happens to get
    wrong. 10 % is what a human can look at again; the risk-coverage curve of the report tells what other fractions
    would give. On other images the fraction may differ, and a larger one warns that they look unlike those of training.

    Args:
        validation: Predictions of the validation images, with their temperature.

    Returns:
        Calibrated probability of the predicted class, half way between two images, so that rounding on another device
        changes nothing. None below ten images.
    """
    confidence, abstained = np.sort(validation.confidence), int(ABSTAIN_FRACTION * len(validation.table))
    return float(confidence[abstained - 1 : abstained + 1].mean()) if abstained else None


def _choose(
    validation: Predictions | None, rule: str, sensitivity: float, confidence: float | None, source: str
) -> tuple[float | None, str]:
    """Threshold, and its rule in words; without a threshold with the reason."""
    kind = "patient" if validation is None else validation.group_kind
    text = f"Youden's index on {source}" if rule == "youden" else f"sensitivity {sensitivity:g} on {source}"
    if confidence is not None:
        text += f" and, with confidence {confidence:g}, in new {kind}s"
    if validation is None or len(set(validation.malignant)) < 2:
        return None, f"{text} (not defined: needs malignant and benign images)"
    lowest = _youden(validation) if rule == "youden" else _with_sensitivity(validation, sensitivity)
    if confidence is not None:
        lowest, reason = _with_confidence(validation, sensitivity, confidence, lowest)
        if reason:
            return None, f"{text} ({reason})"
    score = validation.malignant_probability
    return float((lowest + score[score < lowest].max(initial=0.0)) / 2), text


def _youden(validation: Predictions) -> float:
    """Lowest score that is predicted malignant."""
    fpr, tpr, scores = roc_curve(validation.malignant, validation.malignant_probability, drop_intermediate=False)
    youden = (tpr - fpr).round(12)
    return float(scores[np.flatnonzero(youden == youden.max())[-1]])


def _with_sensitivity(validation: Predictions, sensitivity: float) -> float:
    """Lowest score that is predicted malignant."""
    scores = np.sort(validation.malignant_probability[validation.malignant])
    # The number of malignant images that may be missed; 1e-9 absorbs rounding (0.95 * 20 > 19).
    missed = int((1 - sensitivity) * len(scores) + 1e-9)
    return float(scores[min(missed, len(scores) - 1)])


def _with_confidence(
    validation: Predictions, sensitivity: float, confidence: float, highest: float
) -> tuple[float, str]:
    """Lowest score that is predicted malignant, `highest` or less; or the reason why there is none."""
    malignant, kind = validation.malignant, validation.group_kind
    scores = validation.malignant_probability[malignant]
    codes = np.unique(validation.table["group"][malignant], return_inverse=True)[1]
    totals = np.bincount(codes)
    if len(totals) < FEW_GROUPS:
        found = f"{len(totals)} malignant validation {kind}{'s' * (len(totals) > 1)}"
        return np.nan, f"not chosen: {found}, and a bound for new ones needs {FEW_GROUPS} or more"

    def bound(lowest: float) -> float:
        likely = proportion_posterior(np.bincount(codes, scores >= lowest), totals)
        return float(np.interp(1 - confidence, MIDPOINTS, likely))

    candidates = np.unique(scores[scores <= highest])[::-1]
    if (best := bound(candidates[-1])) < sensitivity:
        found = f"with all malignant images of {len(totals)} validation {kind}s found, the lower bound is {best:.3f}"
        return np.nan, f"not reached: {found}"
    # The lower the threshold, the higher the bound.
    return float(candidates[bisect_left(candidates, True, key=lambda lowest: bound(lowest) >= sensitivity)]), ""
