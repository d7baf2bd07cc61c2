"""Sections that need the images: the most confident errors, and the shortcut baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.evaluation import plots
from hemai.evaluation.cell_area import MIMICS, area_correlations, areas_of_test_images, auroc_given_area
from hemai.evaluation.duplicates import count_duplicates
from hemai.evaluation.plots import draw_errors
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.shortcuts import FEATURES, MAJORITY, SIMPLE, THIS_MODEL, ranking_metric
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section, Table, picture_of_run
from hemai.reporting.text import format_interval, format_number, format_with_interval
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
    wrong, counted = int((~predictions.correct).sum()), "images" if predictions.repeats == 1 else "predictions"
    sentence = f"{wrong:,} of {len(predictions.correct):,} {counted} are wrong."
    return Section("Most confident errors", [sentence], [], [picture])


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
        (row["feature"], *(format_with_interval(row, name) for name in columns), *_gain(row, by))
        for row in baselines.to_dict("records")
    ]
    sentences = [
        "Logistic regressions on a few numbers of each image, fitted on the training and validation images. Colour and "
        "cell area are simple baselines; border, corners, sizes and file order are not of the cell, and above chance "
        "they reveal a shortcut.",
        *_comparison(baselines, by),
    ]
    features = set(baselines["feature"])
    if constant := [feature for feature in FEATURES if feature not in features]:
        sentences.append(f"Constant here, so left out: {'; '.join(constant)}.")
    sentences.append("; ".join(f"{feature}: {meaning}" for feature, meaning in FEATURES.items() if meaning) + ".")
    if duplicates_of is not None:
        sentences.append(f"{count_duplicates(duplicates_of)}.".capitalize())
    picture = render(
        "shortcuts",
        plots.draw_shortcuts(baselines, by, kind),
        "Features right of chance separate the classes without morphology; the network (orange) should do better.",
    )
    headings = ["feature", *(f"{name} (95 % for new {kind}s)" for name in columns)]
    headings += [f"{by}: network less feature"] * (f"{by}/gain" in baselines)
    return Section("Shortcut baselines", sentences, [Table(pd.DataFrame(rows, columns=headings))], [picture])


def _gain(row: Mapping[Any, Any], by: str) -> list[str]:
    """Cell of a table: metric of the network less that of a feature, with its interval; empty without a network."""
    if (name := f"{by}/gain") not in row:
        return []
    if row["feature"] == THIS_MODEL:
        return [""]
    return [f"{format_number(row[name], '+')} ({format_interval(row[f'{name}/low'], row[f'{name}/high'], '+')})"]


def _comparison(baselines: pd.DataFrame, by: str) -> list[str]:
    """Sentences on the best simple baseline, and on features that are not of the cell but separate the classes."""
    features = baselines[~baselines["feature"].isin((MAJORITY, THIS_MODEL))]
    simple = features[features["feature"].isin(SIMPLE)]
    sentences = []
    if len(simple):
        best = max(simple.to_dict("records"), key=lambda row: row[by])
        name, sentence = best["feature"], f"The best simple baseline is {best['feature']} ({by} {best[by]:.3f})."
        if f"{by}/gain" in best:
            low, high = best[f"{by}/gain/low"], best[f"{by}/gain/high"]
            limits = f"{best[f'{by}/gain']:+.3f} ({format_interval(low, high, '+')})"
            verdict = "does better" if low > 0 else "does worse" if high < 0 else "is not shown to do better"
            sentence = f"{'' if low > 0 else 'WARNING: '}The network {verdict} than {name} alone: {by} {limits}."
        sentences.append(sentence)
    chance = 0.5 if by == "auroc" else float(baselines.loc[baselines["feature"] == MAJORITY, by].iloc[0])
    foreign = features[~features["feature"].isin(SIMPLE)]
    foreign = foreign[foreign[f"{by}/low"].astype(float) > chance]
    if len(foreign):
        names = ", ".join(f"{row['feature']} ({row[by]:.3f})" for row in foreign.to_dict("records"))
        sentences.append(f"WARNING: not of the cell, but above chance in {by}: {names}.")
    return sentences


def area_sections(predictions: Predictions, modules: Sequence[CellDataModule]) -> list[Section]:
    """Section on how much of the network is cell area; empty list without malignant and benign images.

    Args:
        predictions: Predictions of all test images.
        modules: Data of the runs that made them.
    """
    if not predictions.positive or len(set(predictions.malignant)) < 2:
        return []
    area = areas_of_test_images(modules)[predictions.table["path"].astype(str)].to_numpy()
    correlations = area_correlations(predictions, area)
    defined = {label: value for label, value in correlations.items() if not math.isnan(value)}
    sentences = ["AUROC among images of similar cell area, where area alone says little."]
    if defined:
        values = ", ".join(f"{label} {value:+.2f}" for label, value in defined.items())
        sentences.append(
            f"Correlation of the network's logit with the logarithm of cell area within classes: {values}."
        )
    if any(abs(value) > MIMICS for value in defined.values()):
        sentences.insert(0, f"WARNING: the network mimics cell area (a correlation beyond {MIMICS}).")
    table = auroc_given_area(predictions, area)
    table["auroc"] = table["auroc"].map(format_number)
    return [Section("Given cell area", sentences, [Table(table.rename(columns={"images_of": "images"}))])]
