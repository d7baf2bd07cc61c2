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
    """Section with a contact sheet of the most confident errors.

    Args:
        evaluation: Results on images below the root of `dataset`.
        run: Run whose own test images these are, if any.
        dataset: Source of the images.
    """
    predictions = evaluation.predictions
    picture = picture_of_run(
        run, "mistakes_test", lambda: draw_errors(predictions, dataset.root, "test"), "The most confident errors first."
    )
    wrong = int((~predictions.correct).sum())
    return Section(
        "Most confident errors", [f"{wrong:,} of {len(predictions.correct):,} images misclassified."], [], [picture]
    )


def shortcuts_section(baselines: pd.DataFrame, kind: str, duplicates_of: CellDataModule | None) -> Section:
    """Section with the shortcut baselines and the numbers of duplicates.

    Args:
        baselines: Table of `hemai.evaluation.shortcuts.shortcut_table`, with the network last, if included.
        kind: What a group is: "patient", "block" or "image".
        duplicates_of: Data whose duplicates are counted, if any.
    """
    by = ranking_metric(baselines)
    columns = [name for name in ("accuracy", "auroc") if name in baselines]
    rows = [
        (row["feature"], *(format_with_interval(row, name) for name in columns)) for row in baselines.to_dict("records")
    ]
    values = baselines.set_index("feature")[by].astype(float)
    features = values.drop(THIS_MODEL, errors="ignore")
    best, name = features.max(), str(features.idxmax())
    sentences = [
        "Logistic regressions on features other than morphology, fitted on the training and validation images. "
        f"The best is {name} ({by} {best:.3f}): a trustworthy network does better."
    ]
    if THIS_MODEL in values and best >= values[THIS_MODEL]:
        sentences.insert(0, f"WARNING: {name} alone does as well as the network ({by} {values[THIS_MODEL]:.3f}).")
    sentences.append("; ".join(f"{feature}: {meaning}" for feature, meaning in FEATURES.items() if meaning) + ".")
    if duplicates_of is not None:
        sentences.append(f"{count_duplicates(duplicates_of)}.".capitalize())
    picture = render(
        "shortcuts",
        plots.draw_shortcuts(baselines, by, kind),
        "Features right of chance separate the classes without morphology; the network (orange) should do better.",
    )
    table = pd.DataFrame(rows, columns=["feature", *(f"{name} (95 % for new {kind}s)" for name in columns)])
    return Section("Shortcut baselines", sentences, [Table(table)], [picture])
