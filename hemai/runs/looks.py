"""Record of how often a test set was looked at, by which models: a metric chosen among many looks is optimistic."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock

from hemai.data.cache import cache_root
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import shorten
from hemai.utils.files import csv_text

FILE = "looks.csv"  # in the folder of the caches: data may be read-only, and looks of all runs count
COLUMNS = ("date", "test_set", "model", "runs", "threshold_rule")
TIMEOUT_S = 5


@dataclass(frozen=True)
class Look:
    """One model's look at a test set.

    Attributes:
        test_set: First 16 digits of the SHA-256 of the paths and labels of the test images.
        number: Which look it was, from 1; a model looks once, however often it is evaluated.
        total: Number of looks so far.
    """

    test_set: str
    number: int
    total: int


def record_look(tested: pd.DataFrame, runs: Sequence[SavedRun]) -> Look | None:
    """Record that the model of these runs was tested on these images, unless it already was.

    Args:
        tested: Columns `path, label` of the test images.
        runs: One run, the folds of a cross-validation, or an ensemble.

    Returns:
        None where the record cannot be read or written: no test fails for it.
    """
    try:
        test_set = _hash(
            f"{path}\0{label}" for path, label in sorted(zip(tested["path"], tested["label"], strict=True))
        )
        model = _hash(sorted(_weights_hash(run) for run in runs))
        rules = shorten(dict.fromkeys(run.metadata.get("threshold_rule", "") for run in runs))
        date = datetime.now().isoformat(timespec="seconds")
        row = [date, test_set, model, shorten(run.path.absolute() for run in runs), rules]
        file = cache_root() / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{FILE}.lock"), timeout=TIMEOUT_S):
            models = _models(file, test_set)
            if model not in models:
                is_new = not file.exists()
                with open(file, "a", newline="", encoding="utf-8") as ledger:
                    ledger.write(csv_text(pd.DataFrame([row], columns=COLUMNS), header=is_new))
                models.append(model)
        return Look(test_set, models.index(model) + 1, len(models))
    except (OSError, ValueError, NotImplementedError, csv.Error):  # read-only, full, damaged, or without locks
        return None


def _models(file: Path, test_set: str) -> list[str]:
    """Models that looked at a test set, in the order of their first look."""
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as ledger:
        rows = [row for row in csv.DictReader(ledger) if row.get("test_set") == test_set]
    return list(dict.fromkeys(row["model"] for row in rows))


def _weights_hash(run: SavedRun) -> str:
    """Hash of the weights: a checkpoint that was copied, or written again, is the same model."""
    digest = hashlib.sha256()
    for name, values in sorted(run.model.state_dict().items()):
        digest.update(name.encode() + values.cpu().numpy().tobytes())
    return digest.hexdigest()


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
