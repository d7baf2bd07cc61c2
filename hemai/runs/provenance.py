"""Provenance of a run: what was left out of the data, and the code, weights and hardware of the training."""

from __future__ import annotations

import json
from typing import Any

from hemai.data.datamodule import CellDataModule
from hemai.settings.run_folder import MAX_BYTES, RunFolder


def collect_provenance(data: CellDataModule) -> dict[str, Any]:
    """Provenance of a run that starts, as plain values.

    Returns:
        `left_out`: what was left out of the data -> number of images; `merged_groups`: number of groups that were
        merged with others because they share identical files.
    """
    return {"left_out": data.dataset.left_out, "merged_groups": data.n_merged_groups}


def read_provenance(run: RunFolder | None) -> dict[str, Any]:
    """Content of `provenance.json`; empty for a run of an earlier version and for a bare checkpoint (None)."""
    file = None if run is None else run.provenance
    if file is None or not file.is_file() or file.stat().st_size > MAX_BYTES:
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
