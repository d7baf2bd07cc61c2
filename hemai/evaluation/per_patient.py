"""Results of each group, such as a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from hemai.evaluation.intervals import LEVEL, Interval
from hemai.evaluation.predictions import Predictions


def group_table(predictions: Predictions) -> pd.DataFrame:
    """Tabulate the results of each group, worst first.

    Returns:
        One row per group: `group`; `label` (several joined by `+`); `images`; `accuracy` (of its images). With
        positive classes also `called_malignant` (fraction of its images predicted malignant), `mean_probability` (of
        malignancy), and for groups that are entirely malignant or benign: `malignant`, `majority` and `mean_vote`
        (whether the group is predicted malignant by at least half of its images, or by a mean probability of at
        least 0.5), and `majority_right`, `mean_vote_right` (whether that is correct).
    """
    table = pd.DataFrame(
        {
            "group": predictions.table["group"],
            "label": predictions.table["label"],
            "correct": predictions.correct,
        }
    )
    summary = {"images": ("correct", "size"), "accuracy": ("correct", "mean"), "label": ("label", _joined)}
    if predictions.positive:
        table["malignant"] = predictions.malignant
        table["probability"] = predictions.malignant_probability
        table["predicted"] = table["probability"] >= 0.5
        summary |= {
            "called_malignant": ("predicted", "mean"),
            "mean_probability": ("probability", "mean"),
            "fraction_malignant": ("malignant", "mean"),
        }
    groups = table.groupby("group", sort=True).agg(**summary).reset_index()
    columns = ["group", "label", "images", "accuracy"]
    if predictions.positive:
        whole = groups["fraction_malignant"].isin((0, 1))
        groups["malignant"] = groups["fraction_malignant"].eq(1).where(whole)
        for rule, score in (("majority", "called_malignant"), ("mean_vote", "mean_probability")):
            groups[rule] = (groups[score] >= 0.5).where(whole)
            groups[f"{rule}_right"] = (groups[rule] == groups["malignant"]).where(whole)
        by_rule = ["majority", "majority_right", "mean_vote", "mean_vote_right"]
        columns += ["called_malignant", "mean_probability", "malignant", *by_rule]
    return groups.sort_values(["accuracy", "group"], ignore_index=True)[columns]


def _joined(labels: pd.Series) -> str:
    return "+".join(sorted(set(labels)))


@dataclass(frozen=True)
class Proportion:
    """Number of groups predicted correctly, of all groups, with the exact binomial interval."""

    correct: int
    total: int

    @property
    def interval(self) -> Interval:
        """Fraction of correct groups with its Clopper-Pearson interval; NaN without a group."""
        if not self.total:
            return Interval(np.nan, np.nan, np.nan, 0)
        low, high = binomtest(self.correct, self.total).proportion_ci(LEVEL, method="exact")
        return Interval(self.correct / self.total, low, high, self.total)


def group_metrics(groups: pd.DataFrame, rule: str) -> dict[str, Proportion]:
    """Accuracy, sensitivity and specificity of groups as a whole.

    Args:
        groups: Table of `group_table`, with positive classes.
        rule: "majority" or "mean_vote".
    """
    whole = groups[groups["malignant"].notna()]
    parts = {
        "accuracy": whole,
        "sensitivity": whole[whole["malignant"].astype(bool)],
        "specificity": whole[~whole["malignant"].astype(bool)],
    }
    return {name: Proportion(int(part[f"{rule}_right"].astype(bool).sum()), len(part)) for name, part in parts.items()}
