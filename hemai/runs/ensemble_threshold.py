"""Threshold of an ensemble, chosen on the validation images of its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from hemai.evaluation.operating_point import OperatingPoint, choose_operating_point
from hemai.evaluation.predictions import Predictions
from hemai.runs.saved_run import SavedRun

COLUMNS = ["path", "label", "group"]


def choose_ensemble_point(runs: Sequence[SavedRun]) -> OperatingPoint | None:
    """Choose the threshold of an ensemble on the pooled validation images of its networks, by their rule.

    No network trained on an image that it predicts here. An image that several networks were validated on has the mean
    of their probabilities.

    Returns:
        None for one network, if a network has no validation predictions, or if their rules differ.
    """
    rules = [_rule(run) for run in runs] if len(runs) > 1 else [None]
    if rules[0] is None or any(rule != rules[0] for rule in rules):
        return None
    if not all(run.has_predictions("val") for run in runs):
        return None
    point = choose_operating_point(_pool([run.predictions("val") for run in runs]), **rules[0])
    return replace(point, threshold_rule=f"{point.threshold_rule}, pooled over {len(runs)} networks")


def threshold_facts(runs: Sequence[SavedRun], is_ensemble: bool) -> list[Mapping[str, Any]]:
    """What `hemai.reporting.text.threshold_sentence` tells of the networks of an evaluation."""
    point = choose_ensemble_point(runs) if is_ensemble else None
    if point is None:
        return [run.metadata for run in runs]
    return [asdict(point) | {"group_kind": runs[0].metadata["group_kind"]}]


def _rule(run: SavedRun) -> dict[str, Any] | None:
    settings = {} if run.config is None else run.config.get("threshold") or {}
    names = ("rule", "sensitivity", "confidence")
    return {name: settings.get(name) for name in names} if "rule" in settings else None


def _pool(parts: Sequence[Predictions]) -> Predictions:
    table = pd.concat([part.table[COLUMNS] for part in parts], ignore_index=True)
    codes = table.groupby(COLUMNS, sort=False).ngroup().to_numpy()
    columns = np.concatenate([part.probabilities for part in parts]).T
    mean = np.stack([np.bincount(codes, column) for column in columns], axis=1) / np.bincount(codes)[:, None]
    logits = np.log(np.maximum(mean, np.finfo(float).tiny))
    images = table.drop_duplicates(ignore_index=True)
    return replace(parts[0], table=images, logits=logits, threshold=None, temperature=None, abstain_below=None)
