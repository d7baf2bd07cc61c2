"""Several runs as one: the folds of a cross-validation, or an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from hemai.errors import UserError, some
from hemai.evaluation.finished import Finished
from hemai.evaluation.predictions import Predictions
from hemai.metrics import MAIN
from hemai.runs import OPERATING_POINT


def name_of(runs: Sequence[Finished]) -> str:
    """For a heading: the network, and how many there are of it."""
    backbones = list(dict.fromkeys(run.model.hparams["backbone"] for run in runs))
    return " and ".join(backbones) + (f", {len(runs)} runs" if len(runs) > 1 else "")


def pool_tested(runs: Sequence[Finished]) -> Predictions:
    """The test predictions of several runs as one set, such as the folds of a cross-validation.

    Each image keeps the threshold and temperature of the network that was tested on it; without one of them, all do.

    Raises:
        UserError: An image that several of them tested.
    """
    parts = [run.tested() for run in runs]
    if len(parts) == 1:
        return parts[0]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    if (twice := table["path"].duplicated()).any():
        raise UserError(
            f"{twice.sum():,} images were tested by several of these runs ({some(table['path'][twice], 2)}), "
            "so they are no folds of one cross-validation; name images with data=... data.root=... for the mean of "
            "their probabilities, or evaluate them one by one"
        )
    sizes = [len(part.targets) for part in parts]
    point: dict[str, Any] = {}
    for name in OPERATING_POINT:
        values = [run.facts.get(name) for run in runs]
        point[name] = None if None in values else np.repeat(np.array(values, float), sizes)
    return replace(parts[0], table=table, logits=np.concatenate([part.logits for part in parts]), **point)


def are_tested_apart(runs: Sequence[Finished]) -> bool:
    """Whether all have test images, and none of them the same."""
    if not all(run.is_tested for run in runs):
        return False
    paths = [path for run in runs for path in run.tested().table["path"]]
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


def spread(runs: Sequence[Finished]) -> dict[str, float | None]:
    """Mean and spread over runs, each on its own test images; nothing for one run.

    Returns:
        `runs/<figure>/mean`, `sd` (of a sample), `lowest` and `highest`; None where a figure is not defined in a run.
    """
    if len(runs) < 2:
        return {}
    figures = [run.tested().figures() for run in runs]
    kinds: dict[str, Callable[[list[float]], float]] = {"mean": fmean, "sd": stdev, "lowest": min, "highest": max}
    found: dict[str, float | None] = {}
    for name in MAIN:
        values = [of_run[name] for of_run in figures]
        defined = all(value == value for value in values)
        found |= {f"runs/{name}/{kind}": round(of(values), 7) if defined else None for kind, of in kinds.items()}
    return found
