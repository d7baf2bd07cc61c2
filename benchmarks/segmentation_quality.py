"""Masks of each recipe, compared with published ones and with each other.

    python benchmarks/segmentation_quality.py IRANIAN_FOLDER REFERENCE_FOLDER

1. Dice overlap with the segmented images of Ghaderzadeh et al. 2022 (REFERENCE_FOLDER; named as their originals below
   IRANIAN_FOLDER; inside is where any channel exceeds 40), with the recipe as it is, and with
   objects kept from 100 px.
2. Failures over all images. `segmented`: less than 0.8 remains of the mask that both other recipes find, or none.
   Two clusters: a mask more than twice as large as both others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hemai.data.images import images_below, read_image
from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import SegmentNucleus

RECIPES = ("segmented", "hosseini", "report_segmented")


def segmentation(recipe: str, *settings: str) -> SegmentNucleus:
    """Build the `SegmentNucleus` of a recipe."""
    steps = build(compose([f"transform={recipe}", *settings]).transform).prepare
    return next(step for step in steps if isinstance(step, SegmentNucleus))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("reference", type=Path)
    arguments = parser.parse_args()
    images = {file.name: read_image(file) for file in images_below(arguments.root)[0]}
    references = {file.name: read_image(file).max(axis=2) > 40 for file in images_below(arguments.reference)[0]}
    masks: dict[str, dict[str, np.ndarray]] = {}
    for recipe in RECIPES:
        for settings in ([], ["transform.prepare.segment.min_object_px=100"]):
            transform = segmentation(recipe, *settings)
            found = {name: transform.segment(image).mask.astype(bool) for name, image in images.items()}
            masks.setdefault(recipe, found)
            overlaps = [
                2 * (found[name] & inside).sum() / (found[name].sum() + inside.sum())
                for name, inside in references.items()
            ]
            print(
                f"{recipe} {' '.join(settings)}: Dice {np.mean(overlaps):.3f}, lowest {min(overlaps):.3f}", flush=True
            )
    lost, swollen, empty = [], [], {recipe: 0 for recipe in RECIPES}
    for name in images:
        ours, published, two = (masks[recipe][name] for recipe in RECIPES)
        both = published & two
        if both.any() and (ours & both).sum() < 0.8 * both.sum():
            lost.append(name)
        if two.sum() > 2 * max(ours.sum(), published.sum()):
            swollen.append(name)
        for recipe in RECIPES:
            empty[recipe] += not masks[recipe][name].any()
    print(f"of {len(images):,} images: no nucleus found by {empty}")
    print(f"segmented keeps less than 0.8 of what both others find: {len(lost)}: {', '.join(lost[:5])} ...")
    print(f"two clusters mark more than twice as much as both others: {len(swollen)}: {', '.join(swollen[:5])} ...")


if __name__ == "__main__":
    main()
