"""Several runs as one: the folds of a cross-validation, or an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from hemai.evaluation.metrics import MAIN
from hemai.evaluation.predictions import OPERATING_POINT, Predictions
from hemai.runs.saved_run import SavedRun
from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError, shorten

RUN_FILES = (".hydra/config.yaml", "checkpoints/best.ckpt")  # a run has one of them, below its folder


def find_saved_runs(paths: Sequence[Path], trust: bool = False) -> list[SavedRun]:
    """Find finished runs and checkpoints, also in folders above them, such as that of a cross-validation; each once.

    Args:
        paths: Run folders, folders above them, or checkpoints.
        trust: Run code that they name, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: Nothing there, an unfinished run, or networks of other data, classes or prepared images.
    """
    found: dict[Path, SavedRun] = {}
    for path in paths:
        below = {file.parent.parent for pattern in RUN_FILES for file in path.rglob(pattern) if path.is_dir()}
        for one in [path] if path in below or not below else sorted(below):
            found.setdefault(one.resolve(), SavedRun(one, trust))
    runs = list(found.values())
    if unfinished := [run.path for run in runs if run.path.is_dir() and _is_unfinished(RunFolder(run.path))]:
        raise UserError(
            f"unfinished: {shorten(unfinished)}; finish with python train.py resume=RUN_FOLDER, or name the others"
        )
    for run in runs:
        for what, ours, first in (
            ("classes", run.model.classes, runs[0].model.classes),
            ("malignant classes", run.model.positive, runs[0].model.positive),
            *((key, run.metadata[key], runs[0].metadata[key]) for key in ("data", "group_kind", "prepare")),
        ):
            if ours != first:
                raise UserError(f"{run.path} and {runs[0].path} differ in {what}; name them one by one")
    return runs


def _is_unfinished(run: RunFolder) -> bool:
    return run.config.is_file() and not run.result.is_file()


def union_of_shared_groups(shared: Iterable[set[str] | None]) -> list[str] | None:
    """Groups that any of several runs shares, sorted; None if one of them is not known."""
    found = list(shared)
    return None if None in found else sorted(set().union(*(groups for groups in found if groups)))


def describe_networks(runs: Sequence[SavedRun]) -> str:
    """For a heading: the network, and how many there are of it."""
    backbones = list(dict.fromkeys(run.model.hparams["backbone"] for run in runs))
    return " and ".join(backbones) + (f", {len(runs)} runs" if len(runs) > 1 else "")


def pool_test_predictions(runs: Sequence[SavedRun]) -> Predictions:
    """The test predictions of several runs as one set, such as the folds of a cross-validation.

    Each image keeps the threshold and temperature of the network that was tested on it; without one of them, all do.

    Raises:
        UserError: An image that several of them tested.
    """
    parts = [run.predictions() for run in runs]
    if len(parts) == 1:
        return parts[0]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    if (twice := table["path"].duplicated()).any():
        raise UserError(
            f"{twice.sum():,} images were tested by several of these runs ({shorten(table['path'][twice], 2)}), "
            "so they are no folds of one cross-validation; name images with data=... data.root=... for the mean of "
            "their probabilities, or evaluate them one by one"
        )
    sizes = [len(part.targets) for part in parts]
    point: dict[str, Any] = {}
    for name in OPERATING_POINT:
        values = [run.metadata.get(name) for run in runs]
        point[name] = None if None in values else np.repeat(np.array(values, float), sizes)
    return replace(parts[0], table=table, logits=np.concatenate([part.logits for part in parts]), **point)


def have_disjoint_test_sets(runs: Sequence[SavedRun]) -> bool:
    """Whether all have test images, and none of them the same."""
    if not all(run.has_predictions() for run in runs):
        return False
    paths = [path for run in runs for path in run.predictions().table["path"]]
    return len(set(paths)) == len(paths)


def pool_probabilities(parts: Sequence[Predictions]) -> Predictions:
    """An ensemble: the mean of the probabilities that several networks give the same images.

    Its threshold is the mean of theirs (where all have one); a temperature was not fitted to it.
    """
    if len(parts) == 1:
        return parts[0]
    thresholds: list[Any] = [part.threshold for part in parts]
    mean = np.mean([part.probabilities for part in parts], axis=0)
    return replace(
        parts[0],
        logits=np.log(np.maximum(mean, np.finfo(float).tiny)),
        threshold=None if None in thresholds else fmean(thresholds),
        temperature=None,
    )


def spread_over_runs(runs: Sequence[SavedRun]) -> dict[str, float | None]:
    """Mean and spread over runs, each on its own test images; nothing for one run.

    Returns:
        `runs/<figure>/mean`, `sd` (of a sample), `lowest` and `highest`; None where a figure is not defined in a run.
    """
    if len(runs) < 2:
        return {}
    figures = [run.predictions().figures() for run in runs]
    kinds: dict[str, Callable[[list[float]], float]] = {"mean": fmean, "sd": stdev, "lowest": min, "highest": max}
    found: dict[str, float | None] = {}
    for name in MAIN:
        values = [of_run[name] for of_run in figures]
        defined = all(value == value for value in values)
        found |= {f"runs/{name}/{kind}": round(of(values), 7) if defined else None for kind, of in kinds.items()}
    return found
