"""How often 95 % intervals contain the truth, and how wide they are: simulated patients.

    python benchmarks/coverage.py [--repeats 200] [--patients 4 6 10 20 60]

Half of the patients are leukaemic. Each has a shift of its own (normal, 0.7 of the standard deviation of the logits of
its cells). Three cases: a moderate network, a good one, and a good one that fails for 15 % of the patients. The number
of cells of a patient is similar (28 to 52), unequal (log-normal, sigma 1.2: the largest of 30 has a fifth of all cells,
typically), or unequal and larger where the network is better. The truth is the metric over 20,000 such patients;
precision and F1 depend on the fraction of malignant images too, and their truth is that at the fraction of the sample.

The rivals: a jackknife over groups on the logit scale with Student's t, and exact binomial limits where all groups are
correct, as hemai had it before; and intervals that take images for independent.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from hemai.evaluation.intervals import Interval, group_intervals, image_intervals
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.weighted import weighted_metrics

RIVALLED, DERIVED = ("accuracy", "recall", "auroc"), ("precision", "f1")
CASES = {"moderate": (0.74, 0.0), "good": (2.0, 0.0), "fails for 15 %": (2.6, 0.15)}  # margin, fraction that fails
SIZES = ("similar", "unequal", "unequal, larger where better")
SHIFT, FAILING_MARGIN, MEAN_CELLS = 0.7, -0.3, 40


def draw(rng: np.random.Generator, patients: int, case: str, sizes: str) -> Predictions:
    """Predictions for the cells of some patients, the first half of them leukaemic."""
    margin, failing = CASES[case]
    leukaemic = np.arange(patients) < (patients + 1) // 2
    margins = np.where(rng.random(patients) < failing, FAILING_MARGIN, margin)
    centres = np.where(leukaemic, margins, -margins) + rng.normal(0, SHIFT, patients)
    fractions = rng.uniform(0.7, 1.3, patients) if sizes == "similar" else rng.lognormal(-0.72, 1.2, patients)
    cells = np.maximum(1, (fractions * MEAN_CELLS).astype(int))
    if sizes == SIZES[2]:
        ease = np.where(leukaemic, centres, -centres) + rng.normal(0, 0.5, patients)
        cells = np.sort(cells)[ease.argsort().argsort()]
    group = np.repeat(np.arange(patients), cells)
    scores = centres[group] + rng.normal(0, 1, len(group))
    table = pd.DataFrame({"path": "", "label": np.where(leukaemic[group], "all", "hem"), "group": group.astype(str)})
    return Predictions(table, np.stack([scores, np.zeros_like(scores)], axis=1), ("all", "hem"), ("all",))


def jackknife_intervals(predictions: Predictions) -> dict[str, Interval]:
    """The rival."""
    codes, names = predictions.group_codes()
    values = weighted_metrics(np.ones((1, len(codes))), predictions)
    left_out = weighted_metrics(codes != np.arange(len(names))[:, None], predictions)
    intervals = {}
    for name in RIVALLED:
        value, without = float(values[name][0]), left_out[name]
        if name == "recall":
            without = without[np.unique(codes[predictions.malignant])]
        if value in (0, 1):
            low, high = stats.binomtest(round(value * len(without)), len(without)).proportion_ci(method="exact")
        elif np.isnan(without).any() or np.ptp(without) < 1e-12:
            low = high = np.nan
        else:
            error = np.sqrt((len(without) - 1) * np.var(without)) / (value * (1 - value))
            low, high = expit(logit(value) + stats.t.ppf([0.025, 0.975], len(without) - 1) * error)
        intervals[name] = Interval(value, float(low), float(high), len(without))
    return intervals


def derive(recall: float, specificity: float, predictions: Predictions) -> dict[str, float]:
    """Precision and F1 at the numbers of malignant and benign images of a sample."""
    malignant, benign = predictions.malignant.sum(), (~predictions.malignant).sum()
    found, wrong = recall * malignant, (1 - specificity) * benign
    return {"precision": found / (found + wrong), "f1": 2 * found / (malignant + found + wrong)}


KINDS = {
    "hemai": (group_intervals, RIVALLED + DERIVED),
    "jackknife": (jackknife_intervals, RIVALLED),
    "images": (image_intervals, RIVALLED[:1]),
}


def simulate(case: str, sizes: str, patients: int, repeats: int) -> dict[str, object]:
    """Coverage and median width of all kinds of intervals, one row of the table."""
    population = draw(np.random.default_rng(0), 20_000, case, sizes)
    values = weighted_metrics(np.ones((1, len(population.targets))), population)
    truth = {name: float(value[0]) for name, value in values.items()}
    row: dict[str, object] = {"case": case, "cells": sizes, "patients": patients}
    found: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for repeat in range(repeats):
        predictions = draw(np.random.default_rng([1, repeat]), patients, case, sizes)
        truth |= derive(truth["recall"], truth["specificity"], predictions)
        for kind, (intervals, names) in KINDS.items():
            if kind == "images" and repeat >= 40:
                continue
            all_of_kind = intervals(predictions)
            for name in names:
                low, high = all_of_kind[name].low, all_of_kind[name].high
                found.setdefault((name, kind), []).append((low <= truth[name] <= high, high - low))
    for (name, kind), results in found.items():
        covered, widths = zip(*results, strict=True)
        row[f"{name}, {kind}"] = f"{np.mean(covered):.2f} ({np.nanmedian(widths):.3f})"
    return row


def main() -> None:
    """Simulate, and print a Markdown table: coverage (median width)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--patients", type=int, nargs="+", default=[4, 6, 10, 20, 60])
    arguments = parser.parse_args()
    for number, (case, sizes, patients) in enumerate(itertools.product(CASES, SIZES, arguments.patients)):
        row = simulate(case, sizes, patients, arguments.repeats)
        if number == 0:
            print("|", " | ".join(row), "|\n|" + "---|" * len(row))
        print("|", " | ".join(map(str, row.values())), "|", flush=True)


if __name__ == "__main__":
    main()
