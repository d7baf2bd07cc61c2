"""Runs and their results, with what is recorded about them, for checklists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf import OmegaConf

from hemai.evaluation.summary import Evaluation
from hemai.reporting.provenance_table import provenance_table
from hemai.reporting.settings_table import settings_of_runs
from hemai.runs.provenance import recorded_card
from hemai.runs.saved_run import SavedRun

Fact = tuple[str, str]  # what is known, and where


@dataclass(frozen=True)
class Study:
    """Runs and the results on their own test images: one run, or the folds of a cross-validation."""

    runs: Sequence[SavedRun]
    evaluation: Evaluation

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """Table of settings: name -> value, or several where the runs differ."""
        return dict(settings_of_runs(self.runs).itertuples(index=False))

    @cached_property
    def provenance(self) -> Mapping[str, str]:
        """Table of code, weights, hardware, time and energy: name -> value."""
        return dict(provenance_table(self.runs).itertuples(index=False))

    @cached_property
    def card(self) -> Mapping[str, str]:
        """Card of the data set."""
        return {**getattr(self.runs[0].dataset, "card", {}), **recorded_card(self.runs[0].folder)}

    @cached_property
    def config(self) -> Any:
        """Configuration of the first run, as plain values."""
        return OmegaConf.to_container(self.runs[0].config) if self.runs[0].config is not None else {}

    @property
    def where_settings(self) -> str:
        """Section of the report with the settings."""
        return "report: Data and split" if len(self.runs) == 1 else "report: Settings"
