"""All that is told of a set of predictions, computed once for terminal, files and report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hemai.evaluation.calibration import abstention, calibration_figures, reliability
from hemai.evaluation.groups import Share, group_figures, group_table
from hemai.evaluation.intervals import FEW_GROUPS, Interval, group_intervals, image_intervals
from hemai.evaluation.predictions import Predictions
from hemai.files import write_text
from hemai.metrics import AT_THRESHOLD

LIMITS = ("low", "high", "low_images", "high_images")
VOTES = {"majority": "majority of the images", "mean_vote": "mean probability"}


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth.

    Attributes:
        predictions: Of all images.
        kind: What a group is: "patient", "block" or "image".
        over_groups: Figure -> interval for new groups.
        over_images: The same as if images were independent.
        groups: As of `group_table`.
        votes: Vote -> figure -> groups that are right; empty if groups are no patients.
        calibration: `ece`, `brier` and, with a temperature, `ece_calibrated`, `brier_calibrated`.
        bins, answered: As of `reliability` and `abstention`.
    """

    predictions: Predictions
    kind: str
    over_groups: Mapping[str, Interval]
    over_images: Mapping[str, Interval]
    groups: pd.DataFrame
    votes: Mapping[str, Mapping[str, Share]]
    calibration: Mapping[str, float]
    bins: pd.DataFrame
    answered: pd.DataFrame

    @property
    def both_kinds(self) -> bool:
        """Whether there are malignant and benign images."""
        return len(set(self.predictions.malignant)) == 2

    def few_groups(self) -> dict[str, int]:
        """Classes whose intervals mean little, with their number of groups."""
        table = self.predictions.table
        counts = {label: table["group"][table["label"] == label].nunique() for label in self.predictions.classes}
        return {label: count for label, count in counts.items() if count < FEW_GROUPS}

    def figures(self) -> pd.DataFrame:
        """One row a figure: `figure, value, low, high, groups, low_images, high_images`."""
        return pd.DataFrame(
            [
                {
                    "figure": name,
                    **asdict(interval),
                    "low_images": self.over_images[name].low,
                    "high_images": self.over_images[name].high,
                }
                for name, interval in self.over_groups.items()
            ]
        )

    def result(self) -> dict[str, Any]:
        """Flat, as the `result.json` of a run: `test/<figure>` and its limits, `test_at_threshold/<figure>`."""
        facts: dict[str, float] = {}
        for row in self.figures().to_dict("records"):
            figure = row["figure"]
            name = f"test_{figure}" if figure.startswith(AT_THRESHOLD) else f"test/{figure}"
            facts |= {name: row["value"]} | {f"{name}/{limit}": row[limit] for limit in LIMITS}
        for vote, shares in self.votes.items():
            for name, share in shares.items():
                interval = share.interval
                facts[f"test/{vote}/{name}"] = interval.value
                facts |= {f"test/{vote}/{name}/low": interval.low, f"test/{vote}/{name}/high": interval.high}
        facts |= {f"test/{name}": value for name, value in self.calibration.items()}
        counts = {"test/images": len(self.predictions.targets), "test/groups": len(self.groups)}
        return {name: None if math.isnan(value) else round(value, 7) for name, value in facts.items()} | counts


def evaluate_predictions(predictions: Predictions, kind: str) -> Evaluation:
    """Compute everything.

    Args:
        predictions: Of a set of images.
        kind: What a group is.
    """
    groups = group_table(predictions)
    patients = kind == "patient" and bool(predictions.positive)
    calibration = calibration_figures(predictions)
    if (calibrated := predictions.calibrated) is not None:
        calibration |= {f"{name}_calibrated": value for name, value in calibration_figures(calibrated).items()}
    return Evaluation(
        predictions,
        kind,
        group_intervals(predictions),
        image_intervals(predictions),
        groups,
        {vote: group_figures(groups, vote) for vote in VOTES} if patients else {},
        calibration,
        reliability(predictions),
        abstention(predictions),
    )


def write_evaluation(evaluation: Evaluation, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `predictions.csv`, `figures.csv`, `groups.csv`, `reliability.csv`, `abstention.csv`, `result.json`.

    Args:
        evaluation: To be written.
        folder: New or empty.
        facts: Added to `result.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "predictions.csv", evaluation.predictions.to_csv())
    tables = {
        "figures": evaluation.figures(),
        "groups": evaluation.groups,
        "reliability": evaluation.bins,
        "abstention": evaluation.answered,
    }
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    write_text(folder / "result.json", json.dumps(evaluation.result() | dict(facts), indent=2) + "\n")
