"""Sentences of a report on the test set: how often it was looked at, and what was settled before training."""

from __future__ import annotations

from collections.abc import Sequence

from hemai.data.dataset import CellDataset
from hemai.data.synthetic import Synthetic
from hemai.evaluation.predictions import Predictions
from hemai.runs.looks import Look, record_look
from hemai.runs.saved_run import SavedRun


def describe_look(tested: Predictions, runs: Sequence[SavedRun], external: CellDataset | None = None) -> list[str]:
    """Record that the runs were tested on these images, and tell it.

    Args:
        tested: Predictions of the test images.
        runs: Runs that made the predictions.
        external: External test set; None for the runs' own test images.

    Returns:
        Empty for the drawn data set, where new test images cost nothing.
    """
    sentences: list[str] = []
    if (external.name if external else runs[0].metadata["data"]) == Synthetic.name:
        return sentences
    if look := record_look(tested.table, runs):
        sentences.append(_look_sentence(look))
    if external is None and all(run.config is not None and "threshold" in run.config for run in runs):
        hashes = ", ".join(dict.fromkeys(run.metadata["split_hash"] for run in runs))
        sentences.append(
            f"Split ({hashes}) and rule of the threshold were written into the run folder before training."
        )
    return sentences


def _look_sentence(look: Look) -> str:
    """Sentence on how often a test set was looked at."""
    told = f"Look {look.number:,} of this test set (SHA-256 prefix {look.test_set})"
    if look.total == 1:
        return f"{told}: no other model was tested on it before, as far as this computer has recorded."
    return f"{told}: {look.total:,} models were tested on it so far; a metric chosen among them is optimistic."
