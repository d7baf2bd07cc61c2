"""Metrics of each group, such as a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hemai.evaluation.intervals import LEVEL, Interval, clopper_pearson
from hemai.evaluation.predictions import Predictions


def group_table(predictions: Predictions) -> pd.DataFrame:
    """One row a group, worst first.

    Returns:
        `group`; `label` (several joined by `+`); `images`; `accuracy` (of its images). With positive classes
        also `called_malignant` (share of its images), `mean_probability` (of being malignant), and for groups
        that are malignant or benign as a whole: `malignant`, `majority` and `mean_vote` (whether the group is
        called malignant by more than half of its images, or by the mean probability; a tie is malignant), and
        `majority_right`, `mean_vote_right`.
    """
    table = pd.DataFrame(
        {
            "group": predictions.table["group"],
            "label": predictions.table["label"],
            "right": predictions.right,
        }
    )
    summary = {"images": ("right", "size"), "accuracy": ("right", "mean"), "label": ("label", _joined)}
    if predictions.positive:
        table["malignant"] = predictions.malignant
        table["probability"] = predictions.malignant_probability
        table["called"] = table["probability"] >= 0.5
        summary |= {
            "called_malignant": ("called", "mean"),
            "mean_probability": ("probability", "mean"),
            "share_malignant": ("malignant", "mean"),
        }
    groups = table.groupby("group", sort=True).agg(**summary).reset_index()
    columns = ["group", "label", "images", "accuracy"]
    if predictions.positive:
        whole = groups["share_malignant"].isin((0, 1))
        groups["malignant"] = groups["share_malignant"].eq(1).where(whole)
        for vote, share in (("majority", "called_malignant"), ("mean_vote", "mean_probability")):
            groups[vote] = (groups[share] >= 0.5).where(whole)
            groups[f"{vote}_right"] = (groups[vote] == groups["malignant"]).where(whole)
        votes = ["majority", "majority_right", "mean_vote", "mean_vote_right"]
        columns += ["called_malignant", "mean_probability", "malignant", *votes]
    return groups.sort_values(["accuracy", "group"], ignore_index=True)[columns]


def _joined(labels: pd.Series) -> str:
    return "+".join(sorted(set(labels)))


@dataclass(frozen=True)
class Proportion:
    """So many right of so many groups, with the exact binomial interval."""

    right: int
    groups: int

    @property
    def interval(self) -> Interval:
        """NaN without a group."""
        if not self.groups:
            return Interval(np.nan, np.nan, np.nan, 0)
        low, high = clopper_pearson(self.right, self.groups, LEVEL)
        return Interval(self.right / self.groups, low, high, self.groups)


def group_metrics(groups: pd.DataFrame, vote: str) -> dict[str, Proportion]:
    """Accuracy, sensitivity and specificity of groups as a whole.

    Args:
        groups: As of `group_table`, with positive classes.
        vote: "majority" or "mean_vote".
    """
    whole = groups[groups["malignant"].notna()]
    parts = {
        "accuracy": whole,
        "sensitivity": whole[whole["malignant"].astype(bool)],
        "specificity": whole[~whole["malignant"].astype(bool)],
    }
    return {name: Proportion(int(part[f"{vote}_right"].astype(bool).sum()), len(part)) for name, part in parts.items()}
