"""Time of all metrics with their intervals, against scikit-learn's metrics with one group left out at a time.

    python benchmarks/evaluation_speed.py [--images 10000] [--groups 100]

hemai leaves out each group, then each of 500 blocks of images, and computes every metric; the rival computes only
accuracy, balanced accuracy, F1 and AUROC, 50 times, and its time is scaled to the same number.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn import metrics

from hemai.evaluation.intervals import MAX_BLOCKS, group_intervals, image_intervals
from hemai.evaluation.predictions import Predictions

RIVAL_REPEATS = 50


def draw(images: int, groups: int) -> Predictions:
    """Predictions of two classes, half of the groups malignant."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, images)
    logit = np.where(group % 2, -1, 1) + rng.normal(0, 1, images)
    table = pd.DataFrame({"path": "", "label": np.where(group % 2, "hem", "all"), "group": group.astype(str)})
    return Predictions(table, np.stack([logit, 0 * logit], axis=1), ("all", "hem"), ("all",))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=100)
    arguments = parser.parse_args()
    predictions = draw(arguments.images, arguments.groups)

    start = time.perf_counter()
    group_intervals(predictions)
    over_groups = time.perf_counter() - start
    start = time.perf_counter()
    image_intervals(predictions)
    over_images = time.perf_counter() - start

    score, called, malignant = predictions.malignant_probability, predictions.correct, predictions.malignant
    predicted = np.where(called, malignant, ~malignant)
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(RIVAL_REPEATS):
        rows = rng.integers(0, len(score), len(score))
        metrics.accuracy_score(malignant[rows], predicted[rows])
        metrics.balanced_accuracy_score(malignant[rows], predicted[rows])
        metrics.f1_score(malignant[rows], predicted[rows])
        metrics.roc_auc_score(malignant[rows], score[rows])
    repeats = min(arguments.groups, MAX_BLOCKS) + min(arguments.images, MAX_BLOCKS)
    rival = (time.perf_counter() - start) / RIVAL_REPEATS * repeats
    print(f"{arguments.images:,} images, {arguments.groups} groups:")
    print(f"hemai: {over_groups:.2f} s over groups, {over_images:.2f} s over images (target for both: 5 s)")
    print(f"scikit-learn in a loop, four metrics: {rival:.1f} s; ratio {rival / (over_groups + over_images):.1f}")


if __name__ == "__main__":
    main()
