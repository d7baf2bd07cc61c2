"""What a report tells with the images at hand: mistakes, and what is no morphology."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hemai.data import CellDataModule, CellDataset
from hemai.data.images import read_image
from hemai.evaluation import plots
from hemai.evaluation.duplicates import count_duplicates
from hemai.evaluation.evaluation import Evaluation
from hemai.evaluation.features import AREA, FEATURES
from hemai.evaluation.shortcuts import NETWORK, ranking
from hemai.evaluation.terminal import limits, number
from hemai.reporting.blocks import Photo, Picture, Section, Table

PHOTOS = 24


def tell_mistakes(evaluation: Evaluation, dataset: CellDataset) -> Section:
    """The most confident mistakes as pictures.

    Args:
        evaluation: Of images below the root of `dataset`.
        dataset: Where they lie.
    """
    predictions = evaluation.predictions
    probabilities = predictions.probabilities
    confidence, called = probabilities.max(axis=1), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(~predictions.right)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:PHOTOS]
    photos = []
    for row in worst:
        path, label, group = (str(predictions.table[name].iloc[row]) for name in ("path", "label", "group"))
        caption = f"{label} called {predictions.classes[called[row]]} ({confidence[row]:.0%})"
        caption += "" if evaluation.kind == "image" else f", {evaluation.kind} {group}"
        try:
            photos.append(Photo(read_image(dataset.root / path), caption))
        except (OSError, ValueError):  # gone since; the others are worth showing
            continue
    told = f"{len(wrong):,} of {len(predictions.right):,} images were called wrong; the most confident first."
    return Section("Worst mistakes", [told], photos=photos)


def tell_shortcuts(audit: pd.DataFrame, kind: str, duplicates_of: CellDataModule | None) -> Section:
    """What tells the classes apart besides morphology, and the duplicates.

    Args:
        audit: As of `hemai.evaluation.shortcuts.shortcut_table`, with the network.
        kind: What a group is.
        duplicates_of: The data whose duplicates are counted, if any.
    """
    of = ranking(audit)
    shown = [name for name in ("accuracy", "auroc") if name in audit]
    rows = [
        (
            row["feature"],
            *(f"{number(row[name])} ({limits(row[f'{name}/low'], row[f'{name}/high'])})" for name in shown),
        )
        for row in audit.to_dict("records")
    ]
    values = audit.set_index("feature")[of].astype(float)
    network, others = values[NETWORK], values.drop(NETWORK)
    best, name = others.max(), str(others.idxmax())
    told = [
        "How well a few numbers that are no morphology tell the classes apart: a logistic regression, fitted on the "
        f"training and validation images. A network that is to be trusted does better than {name} "
        f"({of} {best:.3f}); this one reached {network:.3f}.",
        f"{AREA}: {FEATURES[AREA]}.",
    ]
    if best >= network:
        told.insert(0, f"WARNING: {name} alone does as well as the network.")
    if duplicates_of is not None:
        told.append(f"{count_duplicates(duplicates_of)}.".capitalize())
    picture = Picture(
        "shortcuts",
        plots.draw_shortcuts(audit, of, kind),
        "What lies right of chance is learnt without looking at the cell; the network (orange) should beat it.",
    )
    table = pd.DataFrame(rows, columns=["from this alone", *(f"{name} (95 % for new {kind}s)" for name in shown)])
    return Section("Shortcuts", told, [Table(table)], [picture])
