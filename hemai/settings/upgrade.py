"""Upgrade checkpoints and settings of earlier versions to the current one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hemai.utils.errors import UserError

FORMAT = 3  # of checkpoints; increment it with every change that an older reader would misread
RENAMED_CLASSES = {
    "hemai.classifier.CellClassifier": "hemai.models.classifier.CellClassifier",
    "hemai.loggers.StageTensorBoardLogger": "hemai.training.loggers.StageTensorBoardLogger",
    "hemai.transforms.Recipe": "hemai.transforms.ImagePipeline",
}
RENAMED_CALLBACKS = {"KeepBest": "BestCheckpoint", "StopEarly": "ResumableEarlyStopping", "Record": "MetricHistory"}


def upgrade_names(settings: Any) -> Any:
    """Replace the names of moved classes in settings by their current names.

    Args:
        settings: Nested mappings and lists, such as a configuration.
    """
    if isinstance(settings, dict):
        return {key: upgrade_names(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [upgrade_names(value) for value in settings]
    return RENAMED_CLASSES.get(settings, settings) if isinstance(settings, str) else settings


def check_format(checkpoint: dict[str, Any], file: Path) -> None:
    """Refuse a checkpoint of a later format.

    Raises:
        UserError: The message names both formats.
    """
    found = checkpoint.get("hemai_format")
    if isinstance(found, int) and found > FORMAT:
        raise UserError(
            f"{file} was written by a newer hemai (format {found}, expected {FORMAT} or less); upgrade hemai"
        )


def upgrade_hparams(hparams: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters of a checkpoint of any format, as `CellClassifier` takes them."""
    return {("metadata" if name == "facts" else name): value for name, value in hparams.items()}


def upgrade_checkpoint(checkpoint: dict[str, Any]) -> bool:
    """Upgrade a checkpoint to the current format in place; return whether it had an earlier one."""
    found = checkpoint.get("hemai_format", 1)
    if found < FORMAT:
        checkpoint["hyper_parameters"] = upgrade_hparams(checkpoint["hyper_parameters"])
    if found == 1:
        _upgrade_loops_and_callbacks(checkpoint)
    checkpoint["hemai_format"] = FORMAT
    return bool(found < FORMAT)


def _upgrade_loops_and_callbacks(checkpoint: dict[str, Any]) -> None:
    callbacks = checkpoint.get("callbacks", {})
    for key in list(callbacks):
        name = key.split("{")[0]
        if name in RENAMED_CALLBACKS:
            callbacks[RENAMED_CALLBACKS[name] + key.removeprefix(name)] = callbacks.pop(key)
    if history := callbacks.get("MetricHistory"):  # which also measured the time
        callbacks["Stopwatch"] = {name: value for name, value in history.items() if name != "rows"}
    if loop := checkpoint.get("loops", {}).get("fit_loop"):
        # Format 1 stored the position in the epoch as progress of the loop, not as state of the loader.
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
        is_within_epoch = epochs["processed"] < epochs["ready"]
        position = {"epoch": epochs["processed"], "batch": batches["processed"] if is_within_epoch else 0}
        loop["state_dict"]["combined_loader"] = [position]
