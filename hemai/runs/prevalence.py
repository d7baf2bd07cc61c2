"""Prevalence that the networks of saved runs have learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hemai.evaluation.prevalence import PriorShift
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError


def prior_shift(runs: Sequence[SavedRun], stated: float, network: np.ndarray | None = None) -> PriorShift:
    """Shift of predictions of runs to a stated prevalence.

    Args:
        runs: Runs that made the predictions; the prevalence of an ensemble is the mean of theirs.
        stated: Fraction of malignant images, above 0 and below 1.
        network: Index of the run that predicted each image, where each has test images of its own.

    Raises:
        UserError: Another value, no malignant classes, or a run whose training images are unknown or of one kind.
    """
    if not 0 < stated < 1:
        raise UserError(f"--prevalence={stated:g}: expected a fraction of malignant images above 0 and below 1")
    if not runs[0].model.positive:
        raise UserError(f"--prevalence: {runs[0].path} has no malignant classes; remove --prevalence")
    learned = np.array([learned_prevalence(run) for run in runs])
    return PriorShift(float(learned.mean()) if network is None else learned[network], stated)


def learned_prevalence(run: SavedRun) -> float:
    """Fraction of malignant images in training, as the loss counted them: as sampled, and weighted by class.

    Raises:
        UserError: The training images are unknown (an older checkpoint without its run folder), or of one kind.
    """
    classes, weights, splits = run.model.classes, run.model.hparams["class_weights"], run.splits()
    counts, balance = run.metadata.get("class_counts"), run.metadata.get("balance")
    if counts is None and run.config is not None and len(splits):  # an older run
        in_training = splits["label"][splits["split"] == "train"]
        counts, balance = [int((in_training == label).sum()) for label in classes], run.config.data.get("balance")
    if counts is None:
        raise UserError(f"--prevalence: {run.path} does not tell its training images; name the run folder")
    is_weighted = weights is not None and not isinstance(weights, str)  # "balanced" in a checkpoint of format 1
    seen = np.sign(counts) if balance or isinstance(weights, str) else np.array(counts)
    seen = seen * np.array(weights) if is_weighted else seen
    malignant = float(seen[np.isin(classes, run.model.positive)].sum() / seen.sum())
    if not 0 < malignant < 1:
        raise UserError(f"--prevalence: {run.path} was trained on malignant or on benign images alone")
    return malignant
