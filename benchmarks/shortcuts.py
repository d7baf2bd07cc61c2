"""Accuracy of colour and scale bar alone on the Iranian classes, with and without segmentation.

    python benchmarks/shortcuts.py IRANIAN_FOLDER [--seeds 10]

A logistic regression on a few numbers of each image, fitted on the training and validation images of a split by
block and tested on its test images: mean and range of the test accuracy over the seeds of the split. Images are
prepared at 224 x 224 as for training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hemai.runs.build import build_data
from hemai.settings.compose import compose

FEATURES = {
    "mean colour (3 numbers)": lambda images: images.mean(axis=(1, 2)),
    "mean and spread of colour (6)": lambda images: np.hstack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))]),
    "corner with the scale bar, 48 x 20 px in blocks of 4 x 4 (180)": lambda images: (
        images[:, -20:, -48:].reshape(len(images), 5, 4, 12, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1)
    ),
    "fraction of black pixels (1)": lambda images: (images == 0).all(axis=3).mean(axis=(1, 2))[:, None],
}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    for transform in ("plain", "segmented", "hosseini"):
        features: dict[str, np.ndarray] = {}
        accuracies: dict[str, list[float]] = {name: [] for name in FEATURES}
        largest = []
        for seed in range(arguments.seeds):
            overrides = ["data=iranian", f"data.root={arguments.root}", f"transform={transform}", f"seed={seed}"]
            data = build_data(compose([*overrides, "model.image_size=224"]))
            data.setup()
            fit, test = np.append(data.rows["train"], data.rows["val"]), data.rows["test"]
            largest.append(np.bincount(data.targets[test]).max() / len(test))
            for name, measure in FEATURES.items():
                if name not in features:
                    chunks = np.array_split(data.cache.images, 20)
                    features[name] = np.concatenate([measure(chunk.astype(np.float32)) for chunk in chunks])
                model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
                model.fit(features[name][fit], data.targets[fit])
                accuracies[name].append(model.score(features[name][test], data.targets[test]))
        for name, values in accuracies.items():
            print(
                f"{transform}, {name}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}); "
                f"majority class {np.mean(largest):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
