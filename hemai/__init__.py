"""hemai: train and evaluate classifiers of stained cells, with patient-level splits and intervals for new patients.

Research software, not a medical device. Public names are imported on first use.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hemai.data import CNMC, CellDataModule, CellDataset, FolderDataset, Iranian, Synthetic
    from hemai.evaluation.predictions import Predictions
    from hemai.evaluation.summary import evaluate
    from hemai.models.classifier import CellClassifier
    from hemai.runs.saved_run import load_run
    from hemai.training.launch import train
    from hemai.transforms import ImagePipeline, SegmentNucleus

# On import, albumentations checks online for a newer version; its successor has another licence.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
__all__ = [
    "CNMC",
    "CellClassifier",
    "CellDataModule",
    "CellDataset",
    "FolderDataset",
    "ImagePipeline",
    "Iranian",
    "Predictions",
    "SegmentNucleus",
    "Synthetic",
    "evaluate",
    "load_run",
    "train",
]
_MODULES = {
    "CellClassifier": "hemai.models.classifier",
    "ImagePipeline": "hemai.transforms",
    "Predictions": "hemai.evaluation.predictions",
    "SegmentNucleus": "hemai.transforms",
    "evaluate": "hemai.evaluation.summary",
    "load_run": "hemai.runs.saved_run",
    "train": "hemai.training.launch",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hemai' has no attribute '{name}'")
    return getattr(import_module(_MODULES.get(name, "hemai.data")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
