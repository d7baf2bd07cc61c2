"""How often the 95 % band of a ROC curve contains the true curve, at single points, and how wide it is.

    python benchmarks/roc_band.py [--repeats 100] [--patients 20 40]

Simulated patients as in `coverage.py`. The truth is the curve of 20,000 such patients. The rivals: a band that holds
95 % of the resamples of patients, as hemai had it before, and a jackknife over patients on the logit scale.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from coverage import CASES, SIZES, draw
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import roc_curve

from hemai.evaluation.curve_bands import likely_rates, roc_band
from hemai.evaluation.predictions import Predictions

POINTS = np.array([0.02, 0.05, 0.1, 0.2, 0.4])  # false positive rates


def curve(predictions: Predictions, weights: np.ndarray | None = None) -> np.ndarray:
    """Sensitivity at `POINTS`."""
    x, y, _ = roc_curve(predictions.malignant, predictions.malignant_probability, sample_weight=weights)
    return np.interp(POINTS, x, y)


def ours(predictions: Predictions) -> np.ndarray:
    """The band as it is drawn."""
    rates = likely_rates(predictions)
    if rates is None:
        return np.full((2, len(POINTS)), np.nan)
    band, whole = roc_band(*rates, POINTS), curve(predictions)
    return np.stack([np.minimum(band[0], whole), np.maximum(band[1], whole)])


def _kinds(predictions: Predictions) -> tuple[np.ndarray, list[np.ndarray]]:
    codes, _ = predictions.group_codes()
    return codes, [np.unique(codes[kind]) for kind in (predictions.malignant, ~predictions.malignant)]


def resampled(predictions: Predictions, resamples: int = 200) -> np.ndarray:
    """A rival: quantiles of resamples of patients, of each class."""
    (codes, kinds), rng = _kinds(predictions), np.random.default_rng(0)
    counts = np.zeros((resamples, codes.max() + 1))
    for kind in kinds:
        counts[:, kind] = rng.multinomial(len(kind), np.full(len(kind), 1 / len(kind)), resamples)
    return np.quantile([curve(predictions, row[codes]) for row in counts], (0.025, 0.975), axis=0)


def jackknifed(predictions: Predictions) -> np.ndarray:
    """A rival: a jackknife of the sensitivity, with Student's t."""
    codes, kinds = _kinds(predictions)
    value = np.clip(curve(predictions), 1e-3, 1 - 1e-3)
    left_out = np.stack([curve(predictions, (codes != group) * 1.0) for group in range(codes.max() + 1)])
    variance = sum((len(kind) - 1) * left_out[kind].var(axis=0) for kind in kinds)
    step = stats.t.ppf(0.975, len(left_out) - 2) * np.sqrt(variance) / (value * (1 - value))
    return expit(logit(value) + np.stack([-step, step]))


def main() -> None:
    """Simulate, and print a Markdown table: coverage (median width) at each false positive rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 40])
    arguments = parser.parse_args()
    print("| case | cells | patients | band |", *(f"{point:g} |" for point in POINTS), "\n|" + "---|" * 9)
    for case, sizes, patients in itertools.product(CASES, SIZES[:2], arguments.patients):
        truth = curve(draw(np.random.default_rng(0), 20_000, case, sizes))
        samples = [draw(np.random.default_rng([1, i]), patients, case, sizes) for i in range(arguments.repeats)]
        for band in (ours, jackknifed, resampled):
            limits = np.stack([band(sample) for sample in samples])
            covered = ((limits[:, 0] <= truth) & (truth <= limits[:, 1])).mean(axis=0)
            widths = np.median(limits[:, 1] - limits[:, 0], axis=0)
            cells = (f"{share:.2f} ({width:.2f}) |" for share, width in zip(covered, widths, strict=True))
            print(f"| {case} | {sizes} | {patients} | {band.__name__} |", *cells, flush=True)


if __name__ == "__main__":
    main()
