"""Comparison of two cross-validations over their networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from hemai.evaluation.intervals import LEVEL, ROUNDING
from hemai.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Resampled:
    """Difference of a metric over the networks of two cross-validations.

    Attributes:
        value: Mean difference over networks that were tested on the same images.
        low, high: Its limits for other seeds and folds of these patients; NaN where all networks differ alike.
        p: Two-sided p-value of no difference; NaN likewise.
        networks: Number of pairs of networks.
    """

    value: float
    low: float
    high: float
    p: float
    networks: int


def resampled_differences(one: Predictions, other: Predictions) -> dict[str, Resampled]:
    """Differences of the metrics that all networks define, `other` less `one`, by the corrected resampled t-test.

    Training sets of folds overlap, so the variance over J networks of a cross-validation with K folds is multiplied by
    1 / J + 1 / (K - 1) instead of 1 / J.

    Args:
        one: Predictions of a cross-validation, with `network`, and with `repeats` if it was repeated.
        other: Those of another network on the same folds, as sorted by `hemai.evaluation.paired.align`.

    Returns:
        Metric -> difference; empty unless both have the same two folds or more.

    Source: Nadeau & Bengio, Machine Learning 52 (2003) 239; Bouckaert & Frank, PAKDD 2004, for repeats.
    """
    if one.network is None or other.network is None or not np.array_equal(one.network, other.network):
        return {}
    networks = np.unique(one.network)
    if (folds := len(networks) // one.repeats) < 2:
        return {}
    differences: dict[str, list[float]] = {}
    for network in networks:
        before, after = (_of_network(each, network).metrics() for each in (one, other))
        for name, value in before.items():
            differences.setdefault(name, []).append(after[name] - value)
    count = len(networks)
    found = {}
    for name, values in differences.items():
        mean = float(np.mean(values))
        error = np.sqrt((1 / count + 1 / (folds - 1)) * np.var(values, ddof=1))
        low = high = p = np.nan
        if error > ROUNDING:
            step = stats.t.ppf((1 + LEVEL) / 2, count - 1) * error
            low, high, p = mean - step, mean + step, 2 * stats.t.sf(abs(mean) / error, count - 1)
        if not np.isnan(mean):
            found[name] = Resampled(mean, float(low), float(high), float(p), count)
    return found


def _of_network(predictions: Predictions, network: int) -> Predictions:
    rows = np.flatnonzero(predictions.network == network)
    table, logits = predictions.table.iloc[rows], predictions.logits[rows]
    plain = replace(predictions, threshold=None, temperature=None, network=None, abstain_below=None)
    return replace(plain, table=table, logits=logits, repeats=1)
