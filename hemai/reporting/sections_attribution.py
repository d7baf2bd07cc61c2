"""Sections on attribution: which part of the cell a network's decisions rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

import pandas as pd

from hemai.attribution.explanation import Explanation
from hemai.attribution.regions import REGIONS, summarise_regions
from hemai.attribution.samples import draw_evenly, explain_dataset
from hemai.data.dataset import CellDataset
from hemai.evaluation.predictions import Predictions
from hemai.models.classifier import CellClassifier
from hemai.reporting.document import Section, Table
from hemai.reporting.text import plural
from hemai.utils.errors import UserError
from hemai.utils.pictures import Picture, draw_sheet, render

HEADING = "Attribution by region"
MEASURED, SHOWN = 200, 12  # test images of a report: in its table, and on its sheet
PANEL_IN = 1.3  # inches: width of a panel of the sheet
REGIONS_EXPLAINED = (
    "Ratio: fraction of the positive attribution in a region by its fraction of the image; 1 means no preference. "
    "Regions are found by segmentation in the image as stored, not by hand: in a smear a rim around the nucleus counts "
    "as cytoplasm, in a cell cut out on black the paler part does."
)


def attribution_section(model: CellClassifier, predictions: Predictions, dataset: CellDataset) -> Section:
    """Section on which pixels the predictions of test images rest on: a sheet, and the fractions by region.

    Args:
        model: Classifier that made the predictions.
        predictions: Predictions of the test images.
        dataset: Their source.
    """
    table = predictions.table.reset_index(drop=True)
    drawn = draw_evenly(table, MEASURED)
    wrong, correct = drawn[~predictions.correct[drawn]], drawn[predictions.correct[drawn]]
    wrong = wrong[: max(SHOWN // 2, SHOWN - len(correct))]
    shown = [*wrong, *correct[: SHOWN - len(wrong)]]
    try:
        measured = explain_dataset(model, dataset, table["path"].iloc[drawn].tolist(), ["hires_cam"])
    except UserError as error:
        return Section(HEADING, [f"Not computed: {error}."])
    by_row = dict(zip(drawn.tolist(), measured, strict=True))
    examples = [by_row[row] for row in shown]
    facts = table.iloc[drawn][["path", "group"]].to_dict("records")
    rows = pd.DataFrame([fact | row for fact, each in zip(facts, measured, strict=True) for row in each.rows()])
    captions = [
        f"{PurePath(path).name}\n{label}; predicted {describe_class(each)}"
        for path, label, each in zip(table["path"].iloc[shown], table["label"].iloc[shown], examples, strict=True)
    ]
    title = f"{len(wrong)} wrong and {len(shown) - len(wrong)} correct predictions"
    sheet = attribution_sheet("attribution", examples, captions, title)
    section = regions_section(summarise_regions(rows), rows, predictions.group_kind, [sheet])
    notes = [f"{len(drawn):,} of {len(table):,} test images, drawn evenly over classes and {predictions.group_kind}s."]
    notes.append("hemai explain also computes integrated gradients (pip install 'hemai[explain]').")
    return replace(section, sentences=[*section.sentences, *notes])


def regions_section(
    summary: pd.DataFrame, rows: pd.DataFrame, kind: str = "", pictures: Sequence[Picture] = ()
) -> Section:
    """Section with the fractions of the attribution in nucleus, cytoplasm and background.

    Args:
        summary: Table of `hemai.attribution.regions.summarise_regions`.
        rows: The table that it summarises.
        kind: What a group is, if the rows have groups.
        pictures: Sheets of the images.
    """
    counted = f"means over {kind}s" if kind else "means over images"
    sentences = [
        "Which pixels speak for the class that is explained: the predicted one, if no other is named; "
        f"{counted}. {REGIONS_EXPLAINED}"
    ]
    left_out = rows[(rows["background_area"] == 1) | rows["background"].isna()]
    if len(left_out):
        sentences.append(
            f"Left out of the table: {plural(left_out['path'].nunique(), 'image')} without a cell that the "
            "segmentation finds, or without positive attribution."
        )
    return Section(HEADING, sentences, [Table(region_table(summary, kind), texts=3)], pictures)


def region_table(summary: pd.DataFrame, kind: str = "") -> pd.DataFrame:
    """Table of regions for display: percentages, and the ratio with two decimals."""
    shown = summary.rename(columns={"groups": f"{kind}s"}).assign(method=summary["method"].map(spell))
    for name in ("attribution", "area"):
        shown[name] = shown[name].map("{:.1%}".format)
    shown["ratio"] = shown["ratio"].map(lambda ratio: "no area" if pd.isna(ratio) else f"{ratio:.2f}")
    return shown


def attribution_sheet(name: str, explanations: Sequence[Explanation], captions: Sequence[str], title: str) -> Picture:
    """Contact sheet: of each image a strip, see `Explanation.strip`, under two lines of text."""
    strips = [each.strip() for each in explanations]
    width = PANEL_IN * (2 + len(explanations[0].maps))
    figure = draw_sheet(strips, captions, f"{title}\n{describe_strip(explanations[0])}", columns=2, width=width)
    return render(name, figure, "The more yellow, the more a pixel speaks for the class.")


def describe_strip(explanation: Explanation) -> str:
    """Names of the panels of `Explanation.strip`."""
    return "; ".join(["image", "outlines of nucleus (green) and cell (yellow)", *map(spell, explanation.maps)])


def describe_class(explanation: Explanation) -> str:
    """Class that is explained, with its probability: `hem 98 %`."""
    other = "" if explanation.explained == explanation.predicted else f"{explanation.predicted} predicted; "
    return f"{other}{explanation.explained} {explanation.probability:.0%}"


def describe_regions(explanation: Explanation) -> str:
    """Fraction of the attribution in each region, for each method, after that of the area."""
    rows = explanation.rows()
    parts = {"area": [f"{name} {rows[0][f'{name}_area']:.0%}" for name in REGIONS]}
    parts |= {spell(row["method"]): [f"{name} {row[name]:.0%}" for name in REGIONS] for row in rows}
    return "; ".join(f"{name}: {', '.join(part)}" for name, part in parts.items())


def spell(method: str) -> str:
    """Name of a method for a reader."""
    return {"hires_cam": "HiResCAM"}.get(method, method.replace("_", " "))
