"""Checkpoints of earlier versions, read as those of this one."""

from __future__ import annotations

from typing import Any

FORMAT = 2  # of checkpoints; raise it with every change that an older reader would misread
RENAMED_CALLBACKS = {"KeepBest": "BestCheckpoint", "StopEarly": "ResumableEarlyStopping", "Record": "MetricHistory"}


def upgrade_checkpoint(checkpoint: dict[str, Any]) -> None:
    """Bring what a resumed run needs into the form of this version, in place."""
    if checkpoint.get("hemai_format", 1) >= FORMAT:
        return
    callbacks = checkpoint.get("callbacks", {})
    for key in list(callbacks):
        name = key.split("{")[0]
        if name in RENAMED_CALLBACKS:
            callbacks[RENAMED_CALLBACKS[name] + key.removeprefix(name)] = callbacks.pop(key)
    if history := callbacks.get("MetricHistory"):  # which kept the time as well
        callbacks["Stopwatch"] = {name: value for name, value in history.items() if name != "rows"}
    if loop := checkpoint.get("loops", {}).get("fit_loop"):
        # Format 1 followed the place in the epoch by the progress of the loop, not by the state of the loader.
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
        is_within_epoch = epochs["processed"] < epochs["ready"]
        place = {"epoch": epochs["processed"], "batch": batches["processed"] if is_within_epoch else 0}
        loop["state_dict"]["combined_loader"] = [place]
