"""Report section on negative controls."""

from __future__ import annotations

from collections.abc import Sequence

from hemai.data.permuted import PERMUTED
from hemai.reporting.document import Section
from hemai.runs.saved_run import SavedRun


def control_sections(runs: Sequence[SavedRun]) -> list[Section]:
    """Section that warns of networks trained on permuted labels, before all others; empty list without them."""
    controls = [run for run in runs if run.metadata.get("permuted_labels")]
    if not controls:
        return []
    return [Section("Negative control", [PERMUTED.format(kind=controls[0].metadata["group_kind"])], is_brief=True)]
