"""How often intervals over groups, and intervals over images, hold the truth: simulated patients.

    python benchmarks/coverage.py [--repeats 1000]

Patients are drawn with a shift of their own (normal, in units of the spread of the cells' logits), half of them
leukaemic, and their cells around it; the truth is the figure over a population of such patients. Printed is the share
of 95 % intervals that hold the truth, for 10, 30 and 100 patients, with cells of similar and of very unequal number.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from hemai.evaluation.intervals import group_intervals, image_intervals, weighted_metrics
from hemai.evaluation.predictions import Predictions

FIGURES = ("accuracy", "recall", "specificity", "auroc", "loss")
SHIFT, MARGIN = 0.7, 0.9  # of patients; of the classes


def draw(rng: np.random.Generator, patients: int, unequal: bool, mean_cells: int = 40) -> Predictions:
    """Predictions for the cells of some patients, the first half of them leukaemic."""
    share = rng.lognormal(0, 1.2, patients) if unequal else rng.uniform(0.7, 1.3, patients)
    cells = np.maximum(1, (share / share.mean() * mean_cells).astype(int))
    group = np.repeat(np.arange(patients), cells)
    leukaemic = np.arange(patients)[group] < patients // 2
    logit = np.where(leukaemic, MARGIN, -MARGIN) + rng.normal(0, SHIFT, patients)[group] + rng.normal(0, 1, len(group))
    table = pd.DataFrame(
        {"path": [""] * len(group), "label": np.where(leukaemic, "all", "hem"), "group": group.astype(str)}
    )
    return Predictions(table, np.stack([logit, np.zeros_like(logit)], axis=1), ("all", "hem"), ("all",))


def main() -> None:
    """Simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    population = draw(rng, 20_000, unequal=False)
    truth = {
        name: value[0] for name, value in weighted_metrics(np.ones((1, len(population.targets))), population).items()
    }
    print("truth:", {name: round(float(truth[name]), 3) for name in FIGURES})
    for patients in (10, 30, 100):
        for unequal in (False, True):
            hits: dict[str, list[list[bool]]] = {"groups": [], "images": []}
            for repeat in range(repeats):
                predictions = draw(rng, patients, unequal)
                kinds = {"groups": group_intervals(predictions)}
                if repeat < 100:
                    kinds["images"] = image_intervals(predictions)
                for kind, intervals in kinds.items():
                    hits[kind].append([intervals[n].low <= truth[n] <= intervals[n].high for n in FIGURES])
            sizes = "very unequal" if unequal else "similar"
            shown = {
                kind: dict(zip(FIGURES, np.mean(found, axis=0).round(3).tolist(), strict=True))
                for kind, found in hits.items()
            }
            print(f"{patients} patients of {sizes} size: over groups {shown['groups']}; over images {shown['images']}")


if __name__ == "__main__":
    main()
