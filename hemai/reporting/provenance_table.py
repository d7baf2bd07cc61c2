"""Table of the code, weights, hardware, time and energy of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hemai.runs.hardware import estimate_energy
from hemai.runs.provenance import file_checksum, read_provenance
from hemai.runs.saved_run import SavedRun
from hemai.settings.run_folder import read_result
from hemai.utils.errors import shorten

UNKNOWN = "not recorded"


def provenance_table(runs: Sequence[SavedRun]) -> pd.DataFrame:
    """Tabulate what is recorded of the training of one run or more; where runs differ, a row lists their values."""
    tables = [_describe(run) for run in runs]
    rows = [(name, shorten(dict.fromkeys(table[name] for table in tables), most=3)) for name in tables[0]]
    return pd.DataFrame([*rows, *_cost(runs)], columns=["provenance", "value"])


def _describe(run: SavedRun) -> dict[str, str]:
    recorded = read_provenance(run.folder)
    checksum = recorded.get("weights")
    return {
        "code (git commit)": recorded.get("code") or UNKNOWN,
        "file of initial weights": f"SHA-256 {checksum}…" if checksum else "none" if "weights" in recorded else UNKNOWN,
        "checkpoint": f"{run.checkpoint.name}: SHA-256 {file_checksum(run.checkpoint)}…",
        "hardware": _hardware(recorded["hardware"]) if "hardware" in recorded else UNKNOWN,
    }


def _hardware(hardware: dict[str, Any]) -> str:
    memory = f", {hardware['memory_gb']:g} GB" if hardware["memory_gb"] else ""
    return f"{hardware['cpu']}, {hardware['cores']} cores{memory}; {'; '.join(hardware['gpus']) or 'no GPU used'}"


def _cost(runs: Sequence[SavedRun]) -> list[tuple[str, str]]:
    """Rows of the time and the estimated energy of all runs together."""
    together = f", {len(runs)} runs together" if len(runs) > 1 else ""
    seconds = [_seconds(run) for run in runs]
    if any(math.isnan(each) for each in seconds):
        return [(f"training time{together}", UNKNOWN)]
    rows = [(f"training time{together}", f"{sum(seconds):,.0f} s")]
    hardware = [read_provenance(run.folder).get("hardware") for run in runs]
    estimates = [
        estimate_energy(time, machine, _devices(run, machine))
        for run, time, machine in zip(runs, seconds, hardware, strict=True)
        if machine
    ]
    if len(estimates) < len(runs):
        return rows
    assumptions = shorten(dict.fromkeys(assumption for _, assumption in estimates))
    rows.append((f"energy{together}", f"about {sum(energy for energy, _ in estimates):,.1f} Wh ({assumptions})"))
    return rows


def _seconds(run: SavedRun) -> float:
    result = None if run.folder is None else read_result(run.folder.folder)
    seconds = (result or {}).get("seconds")
    return math.nan if seconds is None else seconds


def _devices(run: SavedRun, hardware: dict[str, Any]) -> int:
    devices = run.config.trainer.devices if run.config is not None else 1
    return devices if isinstance(devices, int) and devices > 0 else len(hardware["gpus"])
