"""Paired comparison of two sets of predictions of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hemai.evaluation.intervals import FEW_GROUPS, LEVEL, ROUNDING
from hemai.evaluation.predictions import COLUMNS, Predictions
from hemai.evaluation.weighted import weighted_metrics
from hemai.utils.errors import UserError


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two sets of predictions of the same images.

    Attributes:
        one, other: The metric of each.
        value: `other` less `one`.
        low, high: Limits of the difference for new groups; NaN where it is not defined.
        p: Two-sided p-value of no difference; NaN likewise.
        fewest: Number of groups in the smaller stratum: of mostly malignant or of mostly benign images.
    """

    one: float
    other: float
    value: float
    low: float
    high: float
    p: float
    fewest: int = FEW_GROUPS

    def verdict(self, p: float | None = None, margin: float | None = None) -> str:
        """Conclusion in words, for a metric of which more is better.

        Args:
            p: P-value adjusted for several comparisons; None: the one of this difference.
            margin: Largest loss that is still acceptable; None: only superiority is asked.
        """
        if np.isnan(self.low):
            return "not defined: one group of a class, or groups that all differ alike"
        is_significant = (self.p if p is None else p) < 1 - LEVEL
        if is_significant and self.value > 0:
            return "better"
        if margin is not None and self.fewest < FEW_GROUPS:
            return f"not shown to be non-inferior: {self.fewest} groups of a class, {FEW_GROUPS} or more are needed"
        if margin is not None and self.low > -margin:
            return f"not inferior by {margin:g}"
        if is_significant:
            return "worse"
        return "no evidence of a difference" if margin is None else f"non-inferiority by {margin:g} not shown"


def paired_differences(one: Predictions, other: Predictions) -> dict[str, Difference]:
    """Differences of all metrics that both define, `other` less `one`, with intervals for new groups.

    A jackknife of the difference: each group is left out of both. Groups of mostly malignant and of mostly benign
    images are separate strata, whose variances are added, with Satterthwaite's degrees of freedom; each stratum has
    Kish's effective number of groups less one.

    Args:
        one: Predictions of images.
        other: Predictions of the same images, in any order.

    Raises:
        UserError: The images, labels or groups differ.
    """
    if (one.classes, one.positive) != (other.classes, other.positive):
        raise UserError(
            f"a paired comparison needs the same classes in the same order: found {', '.join(one.classes)} (malignant: "
            f"{', '.join(one.positive)}) and {', '.join(other.classes)} (malignant: {', '.join(other.positive)})"
        )
    one, other = align(one), align(other)
    if not one.table.equals(other.table):
        paths, other_paths = set(one.table["path"]), set(other.table["path"])
        raise UserError(
            f"a paired comparison needs the same test images, labels and groups: found {len(paths):,} and "
            f"{len(other_paths):,} images, {len(paths & other_paths):,} in common; give both runs the same split "
            "(data.split=FILE.csv, or the same data.seed)"
        )
    codes, names = one.group_codes()
    kept = np.concatenate([np.ones((1, len(codes))), codes != np.arange(len(names))[:, None]])
    values, others = weighted_metrics(kept, one), weighted_metrics(kept, other)
    strata = _strata(one, codes)
    fewest = min(len(rows) for rows, _ in strata)
    found = {}
    for name in (name for name in values if name in others):
        difference = others[name] - values[name]
        error, freedom = _error(difference[1:], strata)
        low = high = p = np.nan
        if error > ROUNDING:
            steps = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
            low, high = difference[0] - steps, difference[0] + steps
            p = 2 * stats.t.sf(abs(difference[0]) / error, freedom)
        elif abs(difference[0]) < ROUNDING and not np.isnan(error):
            low, high, p = 0.0, 0.0, 1.0
        one_value, other_value = float(values[name][0]), float(others[name][0])
        limits = float(low), float(high), float(p)
        found[name] = Difference(one_value, other_value, float(difference[0]), *limits, fewest)
    return found


def align(predictions: Predictions) -> Predictions:
    """The predictions in the order of their paths, without thresholds, which are chosen for each network."""
    order = np.argsort(predictions.table["path"].to_numpy(), kind="stable")
    table = predictions.table.iloc[order][list(COLUMNS)].reset_index(drop=True).astype(str)
    return Predictions(
        table,
        predictions.logits[order],
        predictions.classes,
        predictions.positive,
        group_kind=predictions.group_kind,
        network=None if predictions.network is None else predictions.network[order],
        repeats=predictions.repeats,
    )


def _strata(predictions: Predictions, codes: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Groups of each stratum, and its degrees of freedom."""
    sizes = np.bincount(codes)
    kinds = predictions.malignant if predictions.positive else predictions.targets
    most = np.stack([np.bincount(codes, kinds == kind) for kind in np.unique(kinds)]).argmax(axis=0)
    strata = [np.flatnonzero(most == kind) for kind in np.unique(most)]
    return [(rows, sizes[rows].sum() ** 2 / (sizes[rows] ** 2).sum() - 1) for rows in strata]


def _error(left_out: np.ndarray, strata: Sequence[tuple[np.ndarray, float]]) -> tuple[float, float]:
    """Standard error of a metric and its degrees of freedom; NaN with one group of a stratum."""
    if min(len(rows) for rows, _ in strata) < 2:
        return np.nan, np.nan
    variances = [((len(rows) - 1) * np.var(left_out[rows]), max(freedom, 1.0)) for rows, freedom in strata]
    total = sum(variance for variance, _ in variances)
    spread = sum(variance**2 / freedom for variance, freedom in variances)
    return float(np.sqrt(total)), float(total**2 / spread) if spread else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for several comparisons; NaN stays NaN.

    Source: Holm, Scand. J. Stat. 6 (1979) 65.
    """
    ordered = sorted((p, name) for name, p in p_values.items() if not np.isnan(p))
    adjusted, largest = dict(p_values), 0.0
    for rank, (p, name) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[name] = largest
    return adjusted
