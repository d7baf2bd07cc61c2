"""Coverage of the true value by intervals over groups and by intervals over images, for simulated patients.

    python benchmarks/coverage.py [--repeats 1000]

Each patient has a random shift (normal, in units of the spread of the cells' logits) around which the logits of the
cells are sampled; half of the patients are leukaemic. The true value is the metric over a population of such patients.
Printed is the fraction of 95 % intervals that contain it, for 10, 30 and 100 patients, with similar and with very
unequal numbers of cells.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from hemai.evaluation.intervals import group_intervals, image_intervals, weighted_metrics
from hemai.evaluation.predictions import Predictions

METRICS = ("accuracy", "recall", "specificity", "auroc", "loss")
SHIFT, MARGIN = 0.7, 0.9  # spread of the patients' shifts; half the distance between the classes


def draw(rng: np.random.Generator, patients: int, unequal: bool, mean_cells: int = 40) -> Predictions:
    """Predictions for the cells of some patients, the first half of them leukaemic."""
    sizes = rng.lognormal(0, 1.2, patients) if unequal else rng.uniform(0.7, 1.3, patients)
    cells = np.maximum(1, (sizes / sizes.mean() * mean_cells).astype(int))
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
    print("truth:", {name: round(float(truth[name]), 3) for name in METRICS})
    for patients in (10, 30, 100):
        for unequal in (False, True):
            hits: dict[str, list[list[bool]]] = {"groups": [], "images": []}
            for repeat in range(repeats):
                predictions = draw(rng, patients, unequal)
                kinds = {"groups": group_intervals(predictions)}
                if repeat < 100:
                    kinds["images"] = image_intervals(predictions)
                for kind, intervals in kinds.items():
                    hits[kind].append([intervals[n].low <= truth[n] <= intervals[n].high for n in METRICS])
            sizes = "very unequal" if unequal else "similar"
            shown = {
                kind: dict(zip(METRICS, np.mean(found, axis=0).round(3).tolist(), strict=True))
                for kind, found in hits.items()
            }
            print(f"{patients} patients of {sizes} size: over groups {shown['groups']}; over images {shown['images']}")


if __name__ == "__main__":
    main()
