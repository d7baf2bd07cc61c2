"""Combine several runs: folds of a cross-validation, or an ensemble."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from hemai.evaluation.metrics import MAIN
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.predictions import Predictions, pool_predictions
from hemai.runs.saved_run import SavedRun
from hemai.settings.run_folder import INNER, RunFolder, read_settings
from hemai.settings.validation import flatten
from hemai.utils.errors import UserError, shorten

FOLD = re.compile(r"fold_\d+")
RUN_FILES = (".hydra/config.yaml", "checkpoints/best.ckpt")  # a run folder contains at least one of them


def find_saved_runs(paths: Sequence[Path], trust: bool = False) -> list[SavedRun]:
    """Find finished runs and checkpoints, each once; also in parent folders, such as that of a cross-validation.

    Args:
        paths: Run folders, their parent folders, checkpoints, exported runs, also of the hub.
        trust: Run code that the files name, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: A missing or unfinished run, or runs that differ in data set, classes or prepare list.
    """
    found: dict[Path, SavedRun] = {}
    for path in paths:
        below = {file.parent.parent for pattern in RUN_FILES for file in path.rglob(pattern) if path.is_dir()}
        below = {run for run in below if INNER not in run.relative_to(path).parts}
        for run_path in [path] if path in below or not below else sorted(below):
            found.setdefault(run_path.resolve(), SavedRun(run_path, trust))
        if path not in below:
            _check_folds(below)
    runs = list(found.values())
    if unfinished := [run.path for run in runs if run.path.is_dir() and _is_unfinished(RunFolder(run.path))]:
        raise UserError(
            f"unfinished: {shorten(unfinished)}; finish with python train.py resume=RUN_FOLDER, or name only the others"
        )
    for run in runs:
        for name, value, first in (
            ("classes", run.model.classes, runs[0].model.classes),
            ("malignant classes", run.model.positive, runs[0].model.positive),
            *((key, run.metadata[key], runs[0].metadata[key]) for key in ("data", "group_kind", "prepare")),
            ("permuted labels", *(bool(each.metadata.get("permuted_labels")) for each in (run, runs[0]))),
        ):
            if value != first:
                raise UserError(f"{run.path} and {runs[0].path} differ in {name}; evaluate them one by one")
    return runs


def _check_folds(folders: Iterable[Path]) -> None:
    """Refuse a cross-validation of which some folds were not begun: those that are there would pass for all."""
    by_parent: dict[Path, set[str]] = {}
    for folder in folders:
        if FOLD.fullmatch(folder.name) and RunFolder(folder).config.is_file():
            by_parent.setdefault(folder.parent, set()).add(folder.name)
    for parent, names in by_parent.items():
        data = read_settings(parent / min(names)).get("data", {})
        folds = int(data.get("folds") or 0) if data.get("split") == "kfold" else 0
        if missing := sorted({f"fold_{number}" for number in range(folds)} - names):
            raise UserError(
                f"{parent} is an unfinished cross-validation, without {shorten(missing)}; repeat its command, or name "
                "the folds one by one"
            )


def _is_unfinished(run: RunFolder) -> bool:
    return run.config.is_file() and not run.result.is_file()


def union_of_shared_groups(shared: Iterable[set[str] | None]) -> list[str] | None:
    """Union of the shared groups of several runs, sorted; None if they are unknown for any run."""
    found = list(shared)
    return None if None in found else sorted(set().union(*(groups for groups in found if groups)))


def describe_networks(runs: Sequence[SavedRun]) -> str:
    """Names of the networks for a heading, with the number of runs if there are several; a control is named so."""
    backbones = list(dict.fromkeys(run.model.hparams["backbone"] for run in runs))
    parts = [" and ".join(backbones)] + [f"{len(runs)} runs"] * (len(runs) > 1)
    parts += ["NEGATIVE CONTROL with permuted labels"] * any(run.metadata.get("permuted_labels") for run in runs)
    return ", ".join(parts)


def pool_test_predictions(runs: Sequence[SavedRun]) -> Predictions:
    """Pool the test predictions of the folds of a cross-validation and of its repeats, or of several seeds.

    Raises:
        UserError: Runs without test predictions, images that were not tested equally often, or images that were tested
            by several runs that are not repeats: checkpoints of one run, or other settings of model or transform.
    """
    pooled = pool_predictions([run.predictions() for run in runs])
    if pooled.repeats > 1:
        folders = {run.folder.folder.resolve() for run in runs if run.folder is not None}
        recipes = [_recipe(run) for run in runs]
        differ = [key for key in recipes[0] if any(other.get(key) != recipes[0][key] for other in recipes)]
        if differ or len(folders) < len(runs):
            reason = f"they differ in {shorten(differ)}" if differ else "they are checkpoints of one run"
            raise UserError(
                f"{pooled.images:,} images were tested by several runs, which are not repeats of one training: "
                f"{reason}; evaluate them one by one, or use hemai compare --paired"
            )
    return pooled


def _recipe(run: SavedRun) -> dict[str, Any]:
    """Settings of model and transform, without seeds."""
    settings = {} if run.config is None else flatten(OmegaConf.to_container(run.config))
    return {
        key: value
        for key, value in settings.items()
        if key.startswith(("model.", "transform.")) and key != "model.seed"
    }


def have_disjoint_test_sets(runs: Sequence[SavedRun]) -> bool:
    """Whether all runs have test images, and no two runs share one."""
    if not all(run.has_predictions() for run in runs):
        return False
    paths = [path for run in runs for path in run.predictions().table["path"]]
    return len(set(paths)) == len(paths)


def pool_probabilities(parts: Sequence[Predictions], point: OperatingPoint | None = None) -> Predictions:
    """Ensemble several networks: the mean of their probabilities for the same images.

    The threshold is that of `point`, see `hemai.runs.ensemble_threshold`; without one the mean of theirs, if all have
    one. There is no temperature and no abstention, since none was fitted to the mean.
    """
    if len(parts) == 1:
        return parts[0]
    thresholds: list[Any] = [part.threshold for part in parts] if point is None else [point.threshold]
    mean = np.mean([part.probabilities for part in parts], axis=0)
    return replace(
        parts[0],
        logits=np.log(np.maximum(mean, np.finfo(float).tiny)),
        threshold=None if None in thresholds else fmean(thresholds),
        temperature=None,
        abstain_below=None,
    )


def spread_over_runs(runs: Sequence[SavedRun]) -> dict[str, float | None]:
    """Mean and spread of the metrics over runs, each on its own test images; empty for one run.

    Returns:
        `runs/<metric>/mean`, `sd` (of a sample), `lowest` and `highest`; None if a run does not define the metric.
    """
    if len(runs) < 2:
        return {}
    metrics = [run.predictions().metrics() for run in runs]
    statistics: dict[str, Callable[[list[float]], float]] = {"mean": fmean, "sd": stdev, "lowest": min, "highest": max}
    spread: dict[str, float | None] = {}
    for name in MAIN:
        values = [of_run[name] for of_run in metrics]
        defined = all(value == value for value in values)
        for kind, statistic in statistics.items():
            spread[f"runs/{name}/{kind}"] = round(statistic(values), 7) if defined else None
    return spread
