"""Sections on controls: permuted labels, and the patient in the features of a network."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hemai.data.permuted import PERMUTED
from hemai.reporting.document import Section, Table
from hemai.reporting.text import format_number
from hemai.runs.saved_run import SavedRun


def control_sections(runs: Sequence[SavedRun]) -> list[Section]:
    """Section that warns of networks trained on permuted labels, before all others; empty list without them."""
    controls = [run for run in runs if run.metadata.get("permuted_labels")]
    if not controls:
        return []
    return [Section("Negative control", [PERMUTED.format(kind=controls[0].metadata["group_kind"])], is_brief=True)]


def identity_section(found: pd.DataFrame, kind: str) -> Section:
    """Section on how well groups are told from the features of a network.

    Args:
        found: Table of `hemai.evaluation.group_identity.identify_groups`.
        kind: What a group is: "patient", "block" or "image".
    """
    heading = f"The {kind} in the features"
    if found.empty:
        return Section(heading, [f"Not defined: no class has several {kind}s, with several images, in the test."])
    sentence = (
        "How often the most similar other test image of the same class, by the features before the network's last "
        f"layer, is of the same {kind}; chance is the share of the largest {kind}. This is roughly the ceiling of what "
        f"leakage could exploit, if images of one {kind} were in training and test."
    )
    shown = pd.DataFrame({"class": found["label"], f"{kind}s": found["groups"], "images": found["images"]})
    for name in ("identified", "chance"):
        shown[name] = found[name].map(format_number)
    return Section(heading, [sentence], [Table(shown)])
