"""Report section on the data set: patients, centres, stain and scanner, as its card records them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hemai.data.card import CARD, FIELDS, missing_fields
from hemai.data.dataset import CellDataset
from hemai.reporting.document import Section, Table
from hemai.runs.provenance import recorded_card
from hemai.runs.saved_run import SavedRun

UNKNOWN = "not recorded"


def dataset_sections(dataset: CellDataset | None, runs: Sequence[SavedRun]) -> list[Section]:
    """Section with every field of the card of the data set that is evaluated; empty list without a run.

    Args:
        dataset: Source of the images; None if they cannot be opened; then the card is that of the start of the run.
        runs: Runs that are evaluated.
    """
    if not runs:
        return []
    name = dataset.name if dataset is not None else runs[0].metadata["data"]
    card = dataset.card if dataset is not None else recorded_card(runs[0].folder)
    rows = [(field.replace("_", " "), card.get(field, UNKNOWN)) for field in FIELDS]
    missing = missing_fields(card)
    sentences = [f"{len(missing)} of {len(FIELDS)} fields are not recorded; add them to {CARD} in data.root."]
    table = Table(pd.DataFrame(rows, columns=["field", name]), texts=2)
    return [Section("Data set", sentences if missing else [], [table])]
