"""Sections that need the images: the most confident errors, and the shortcut baselines."""

from __future__ import annotations

import pandas as pd

from hemai.data import CellDataModule, CellDataset
from hemai.evaluation import plots
from hemai.evaluation.duplicates import count_duplicates
from hemai.evaluation.evaluation import Evaluation
from hemai.evaluation.features import FEATURES
from hemai.evaluation.finished import Finished
from hemai.evaluation.shortcuts import NETWORK, ranking
from hemai.figures import draw_errors, render
from hemai.reporting.blocks import Section, Table
from hemai.reporting.drawn import picture_of_run
from hemai.text import with_limits


def tell_errors(evaluation: Evaluation, run: Finished | None, dataset: CellDataset) -> Section:
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


def tell_shortcuts(audit: pd.DataFrame, kind: str, duplicates_of: CellDataModule | None) -> Section:
    """How well features that are no morphology tell the classes apart, and the duplicates.

    Args:
        audit: As of `hemai.evaluation.shortcuts.shortcut_table`, the network last, if it is there.
        kind: What a group is.
        duplicates_of: The data whose duplicates are counted, if any.
    """
    by = ranking(audit)
    columns = [name for name in ("accuracy", "auroc") if name in audit]
    rows = [(row["feature"], *(with_limits(row, name) for name in columns)) for row in audit.to_dict("records")]
    values = audit.set_index("feature")[by].astype(float)
    others = values.drop(NETWORK, errors="ignore")
    best, name = others.max(), str(others.idxmax())
    sentences = [
        "A logistic regression on a few numbers that are no morphology, fitted on the training and validation images. "
        f"The best is {name} ({by} {best:.3f}): a network to be trusted does better."
    ]
    if NETWORK in values and best >= values[NETWORK]:
        sentences.insert(0, f"WARNING: {name} alone does as well as the network ({by} {values[NETWORK]:.3f}).")
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
