"""Metrics, intervals, tables and plots of one set of predictions."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hemai.evaluation import plots
from hemai.evaluation.calibration import calibration_line, calibration_metrics, reliability, risk_coverage
from hemai.evaluation.clinical import predictive_values
from hemai.evaluation.intervals import FEW_GROUPS, Interval, group_intervals, image_intervals
from hemai.evaluation.metrics import AT_THRESHOLD
from hemai.evaluation.per_patient import (
    PATIENT_RULES,
    Proportion,
    clustering,
    group_metrics,
    group_table,
    patient_auroc,
)
from hemai.evaluation.prediction_files import read_probabilities
from hemai.evaluation.predictions import COLUMNS, Predictions
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import csv_text, write_text
from hemai.utils.pictures import draw_confusion, render

LIMITS = ("low", "high", "by_group", "low_by_group", "high_by_group", "low_images", "high_images")


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics with intervals, per-patient results and plots of a set of predictions; displays itself in a notebook.

    Everything is computed when it is first used.

    Attributes:
        predictions: Predictions of all images.
    """

    predictions: Predictions

    @cached_property
    def over_groups(self) -> dict[str, Interval]:
        """Metric -> interval for new groups."""
        return group_intervals(self.predictions)

    @cached_property
    def over_images(self) -> dict[str, Interval]:
        """Metric -> interval as if images were independent."""
        return image_intervals(self.predictions)

    @cached_property
    def by_group(self) -> dict[str, Interval]:
        """Metric -> interval for new groups where each group counts once, whatever its number of images."""
        return group_intervals(self.predictions, by_image=False)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Per-patient table of `hemai.evaluation.per_patient.group_table`."""
        return group_table(self.predictions)

    @property
    def are_patients(self) -> bool:
        """Whether groups are patients, with malignant classes: whole groups can then be predicted."""
        return self.kind == "patient" and bool(self.predictions.positive)

    @cached_property
    def patient_rules(self) -> dict[str, dict[str, Proportion]]:
        """Rule -> metric -> proportion of correct patients; empty if groups are not patients."""
        rules = [rule for rule in PATIENT_RULES if rule in self.groups] if self.are_patients else []
        return {rule: group_metrics(self.groups, rule) for rule in rules}

    @cached_property
    def patient_auroc(self) -> Interval | None:
        """AUROC of the mean probability of patients; None if groups are not patients."""
        return patient_auroc(self.groups) if self.are_patients else None

    @cached_property
    def clustering(self) -> pd.DataFrame:
        """Table of `hemai.evaluation.per_patient.clustering`."""
        return clustering(self.predictions)

    @cached_property
    def predictive(self) -> pd.DataFrame | None:
        """Table of `hemai.evaluation.clinical.predictive_values`; None without both outcomes."""
        return predictive_values(self.predictions) if self.has_both_outcomes else None

    @cached_property
    def calibration(self) -> dict[str, float]:
        """`ece`, `brier`, with a temperature `ece_calibrated`, `brier_calibrated`; slope and intercept with limits."""
        values = calibration_metrics(self.predictions)
        if (calibrated := self.predictions.calibrated) is not None:
            values |= {f"{name}_calibrated": value for name, value in calibration_metrics(calibrated).items()}
        return values | (calibration_line(self.predictions) if self.has_both_outcomes else {})

    @cached_property
    def bins(self) -> pd.DataFrame:
        """Reliability table of `hemai.evaluation.calibration.reliability`."""
        return reliability(self.predictions)

    @cached_property
    def risk_coverage(self) -> pd.DataFrame:
        """Risk-coverage table of `hemai.evaluation.calibration.risk_coverage`."""
        return risk_coverage(self.predictions)

    @property
    def kind(self) -> str:
        """What a group is: "patient", "block" or "image"."""
        return self.predictions.group_kind

    @property
    def has_both_outcomes(self) -> bool:
        """Whether both malignant and benign images occur."""
        return bool(self.predictions.positive) and len(set(self.predictions.malignant)) == 2

    def underpowered_classes(self) -> dict[str, int]:
        """Classes with too few groups, or none, for a reliable interval -> their number of groups."""
        table = self.predictions.table
        counts = {label: table["group"][table["label"] == label].nunique() for label in self.predictions.classes}
        return {label: count for label, count in counts.items() if count < FEW_GROUPS}

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Table of all metrics.

        Returns:
            One row per metric: `metric` (its name), `value, low, high` (for new groups), `groups`, `by_group,
            low_by_group, high_by_group` (where each group counts once), `low_images, high_images`.
        """
        rows = []
        for name, interval in self.over_groups.items():
            by_group, over_images = self.by_group[name], self.over_images[name]
            row = {"metric": name, **asdict(interval), "by_group": by_group.value, "low_by_group": by_group.low}
            row |= {"high_by_group": by_group.high, "low_images": over_images.low, "high_images": over_images.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def result(self) -> dict[str, Any]:
        """Results as keys of `result.json`: `test/<metric>` and its limits, `test_at_threshold/<metric>`."""
        values: dict[str, float] = {}
        for row in self.metrics.to_dict("records"):
            metric = row["metric"]
            name = f"test_{metric}" if metric.startswith(AT_THRESHOLD) else f"test/{metric}"
            values |= {name: row["value"]} | {f"{name}/{limit}": row[limit] for limit in LIMITS}
        of_patients = {
            f"{rule}/{name}": proportion.interval
            for rule, proportions in self.patient_rules.items()
            for name, proportion in proportions.items()
        }
        if self.patient_auroc is not None:
            of_patients["patients/auroc"] = self.patient_auroc
        for name, interval in of_patients.items():
            values |= {f"test/{name}": interval.value, f"test/{name}/low": interval.low}
            values[f"test/{name}/high"] = interval.high
        for row in self.clustering.to_dict("records"):
            for name in ("correlation", "design_effect", "effective_images"):
                values[f"test/{row['metric']}/{name}"] = row[name]
        values |= {f"test/{name}": value for name, value in self.calibration.items()}
        counts = {"test/images": self.predictions.images, "test/groups": len(self.groups)}
        return {name: None if math.isnan(value) else round(value, 7) for name, value in values.items()} | counts

    def plots(self) -> dict[str, Figure]:
        """Confusion matrix, ROC and precision-recall curves (with both outcomes), reliability diagram, groups."""
        predictions = self.predictions
        figures = {"confusion_matrix": draw_confusion(predictions.confusion_matrix(), predictions.classes, "images")}
        if self.has_both_outcomes:
            figures |= {
                "roc": plots.draw_roc(predictions),
                "precision_recall": plots.draw_precision_recall(predictions),
            }
        figures["reliability"] = plots.draw_reliability(self.bins)
        if self.kind != "image":
            figures["groups"] = plots.draw_groups(self.groups, self.kind)
        return figures

    def __repr__(self) -> str:
        images, accuracy = self.predictions.images, self.over_groups["accuracy"].value
        return f"Evaluation({images:,} images, {len(self.groups):,} groups, accuracy {accuracy:.3f})"

    def _repr_html_(self) -> str:
        """Metrics, per-patient table and plots, for a notebook."""
        tables = [self.metrics, *([self.groups] if self.kind != "image" else [])]
        html = [table.to_html(index=False, float_format="{:.3f}".format, na_rep="") for table in tables]
        images = [f'<img src="{render(name, figure).data_uri}" width="340">' for name, figure in self.plots().items()]
        return "\n".join([*html, '<div style="display: flex; flex-wrap: wrap">', *images, "</div>"])


def evaluate(
    source: Predictions | str | os.PathLike[str], positive: Sequence[str] | None = None, group_kind: str | None = None
) -> Evaluation:
    """Evaluate predictions: metrics with intervals for new patients, per-patient table, calibration, plots.

    Args:
        source: Predictions of a run, `run.predictions("test")`; or a csv file of predictions, see
            `hemai.evaluation.prediction_files.read_probabilities`.
        positive: Malignant classes of a csv file.
        group_kind: What a group of a csv file is: "patient" (default), "block" or "image".

    Raises:
        UserError: Neither predictions nor a file of them; a file that cannot be read, or lacks columns.
    """
    if isinstance(source, (str, os.PathLike)):
        if os.path.isdir(source):
            raise UserError(f'{source} is a folder; expected a csv file, or load_run("{source}").predictions("test")')
        source = read_probabilities(Path(source), positive, group_kind or "patient")
    elif not isinstance(source, Predictions):
        raise UserError(
            f"found {type(source).__name__}, expected predictions or the path of a csv file of them; for a run pass "
            'run.predictions("test"), a table save as a csv file'
        )
    elif positive or group_kind:
        raise UserError(
            "positive and group_kind are for csv files; predictions of a run have their own, leave them out"
        )
    if missing := [column for column in COLUMNS if column not in source.table.columns]:
        raise UserError(f"the predictions have no column {shorten(missing)}; only labelled images can be evaluated")
    return Evaluation(source)


def write_evaluation(evaluation: Evaluation, folder: Path, extra: Mapping[str, Any]) -> None:
    """Write `predictions.csv`, the tables as csv files (`figures.csv`, `groups.csv`, ...) and `result.json`.

    Args:
        evaluation: Results to write.
        folder: New or empty folder.
        extra: Entries added to `result.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "predictions.csv", evaluation.predictions.to_csv())
    tables = {
        "figures": evaluation.metrics,
        "groups": evaluation.groups,
        "reliability": evaluation.bins,
        "abstention": evaluation.risk_coverage,
        "clustering": evaluation.clustering,
    }
    if evaluation.predictive is not None:
        tables["predictive_values"] = evaluation.predictive
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", csv_text(table))
    write_text(folder / "result.json", json.dumps(evaluation.result() | dict(extra), indent=2) + "\n")
