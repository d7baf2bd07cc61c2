"""Sections that need the images: the most confident errors, and the shortcut baselines."""

from __future__ import annotations

import pandas as pd

from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.evaluation import plots
from hemai.evaluation.duplicates import count_duplicates
from hemai.evaluation.plots import draw_errors
from hemai.evaluation.shortcuts import FEATURES, THIS_MODEL, ranking_metric
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table, picture_of_run
from hemai.reporting.text import format_with_interval
from hemai.runs.saved_run import SavedRun
from hemai.utils.pictures import render


def errors_section(evaluation: Evaluation, run: SavedRun | None, dataset: CellDataset) -> Section:
    """The most confident errors as pictures.

    Args:
        evaluation: Of images below the root of `dataset`.
        run: Whose own test images these are, if they are those of one.
        dataset: Source of the images.
    """
    predictions = evaluation.predictions
    picture = picture_of_run(
        run, "mistakes_test", lambda: draw_errors(predictions, dataset.root, "test"), "The most confident errors first."
    )
    wrong = int((~predictions.right).sum())
    return Section(
        "Most confident errors", [f"{wrong:,} of {len(predictions.right):,} images are wrong."], [], [picture]
    )


def shortcuts_section(audit: pd.DataFrame, kind: str, duplicates_of: CellDataModule | None) -> Section:
    """How well features that are no morphology tell the classes apart, and the duplicates.

    Args:
        audit: As of `hemai.evaluation.shortcuts.shortcut_table`, the network last, if it is there.
        kind: What a group is.
        duplicates_of: The data whose duplicates are counted, if any.
    """
    by = ranking_metric(audit)
    columns = [name for name in ("accuracy", "auroc") if name in audit]
    rows = [
        (row["feature"], *(format_with_interval(row, name) for name in columns)) for row in audit.to_dict("records")
    ]
    values = audit.set_index("feature")[by].astype(float)
    others = values.drop(THIS_MODEL, errors="ignore")
    best, name = others.max(), str(others.idxmax())
    sentences = [
        "A logistic regression on a few numbers that are no morphology, fitted on the training and validation images. "
        f"The best is {name} ({by} {best:.3f}): a network to be trusted does better."
    ]
    if THIS_MODEL in values and best >= values[THIS_MODEL]:
        sentences.insert(0, f"WARNING: {name} alone does as well as the network ({by} {values[THIS_MODEL]:.3f}).")
    sentences.append("; ".join(f"{feature}: {meaning}" for feature, meaning in FEATURES.items() if meaning) + ".")
    if duplicates_of is not None:
        sentences.append(f"{count_duplicates(duplicates_of)}.".capitalize())
    picture = render(
        "shortcuts",
        plots.draw_shortcuts(audit, by, kind),
        "What lies right of chance is learnt without looking at the cell; the network (orange) should beat it.",
    )
    table = pd.DataFrame(rows, columns=["feature", *(f"{name} (95 % for new {kind}s)" for name in columns)])
    return Section("Shortcut baselines", sentences, [Table(table)], [picture])
