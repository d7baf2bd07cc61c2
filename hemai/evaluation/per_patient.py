"""Results of each group, such as a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import binomtest

from hemai.evaluation.intervals import LEVEL, Interval, image_intervals
from hemai.evaluation.predictions import Predictions

# Rule -> column of `group_table`, and its value from which a patient is predicted malignant.
PATIENT_RULES = {
    "majority": ("called_malignant", 0.5),
    "mean_vote": ("mean_probability", 0.5),
    "majority_at_threshold": ("called_malignant_at_threshold", 0.5),
    "mean_vote_at_threshold": ("mean_above", 0.0),
}


def group_table(predictions: Predictions) -> pd.DataFrame:
    """Tabulate the results of each group, worst first.

    Returns:
        One row per group: `group`; `label` (several joined by `+`); `images`; `accuracy` (of its images). With
        positive classes also `called_malignant` (fraction of its images predicted malignant), `mean_probability` (of
        malignancy), and for groups that are entirely malignant or benign: `malignant`, `majority` and `mean_vote`
        (whether the group is predicted malignant by at least half of its images, or by a mean probability of at
        least 0.5), and `majority_right`, `mean_vote_right` (whether that is correct). With a threshold the same at it:
        `called_malignant_at_threshold`, `majority_at_threshold`, `mean_vote_at_threshold` and so on.
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
        if predictions.threshold is not None:  # each image has the threshold of the network that predicted it
            table["above"] = table["probability"] - predictions.threshold
            table["predicted_at_threshold"] = table["above"] >= 0
            summary |= {
                "called_malignant_at_threshold": ("predicted_at_threshold", "mean"),
                "mean_above": ("above", "mean"),
            }
    groups = table.groupby("group", sort=True).agg(**summary).reset_index()
    groups["images"] //= predictions.repeats
    columns = ["group", "label", "images", "accuracy"]
    if predictions.positive:
        whole = groups["fraction_malignant"].isin((0, 1))
        groups["malignant"] = groups["fraction_malignant"].eq(1).where(whole)
        columns += ["called_malignant", "mean_probability", "malignant"]
        for rule, (score, least) in PATIENT_RULES.items():
            if score in groups:
                groups[rule] = (groups[score] >= least).where(whole)
                groups[f"{rule}_right"] = (groups[rule] == groups["malignant"]).where(whole)
                columns += [rule, f"{rule}_right"]
        columns += [name for name in groups if name == "called_malignant_at_threshold"]
    return groups.sort_values(["accuracy", "group"], ignore_index=True)[columns]


def sums_by_group(table: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """Sums over the readable images of each group, of a part of all images; `predicted_groups` adds the parts.

    Args:
        table: One row per image: `group`, `error` (empty for readable images), and `abstained` if there is a rule.
        predictions: Predictions of the same images.
    """
    readable = table["error"] == ""
    sums = pd.DataFrame({"group": table["group"], "images": 1, "unreadable": ~readable})
    if "abstained" in table:
        sums["abstained"] = table["abstained"] == "yes"
    if predictions.positive:
        sums["mean_probability"] = predictions.malignant_probability * readable
        sums["called_malignant"] = (predictions.malignant_probability >= 0.5) & readable
        if predictions.threshold is not None:
            above = predictions.malignant_probability >= predictions.threshold
            sums["called_malignant_at_threshold"] = above & readable
    return sums.groupby("group", sort=False).sum()


def predicted_groups(sums: Sequence[pd.DataFrame], threshold: float | None) -> pd.DataFrame:
    """Tabulate what is predicted of each group of unlabelled images.

    Args:
        sums: Parts, see `sums_by_group`.
        threshold: Threshold of the predictions, if any.

    Returns:
        One row per group, sorted: `group, images, unreadable`, `abstained` (number of images). With positive classes
        also `mean_probability`, `called_malignant` and the rules of `group_table`, as yes or no (`majority`,
        `mean_vote`), likewise at the threshold; of the readable images, empty without one.
    """
    groups = pd.concat(sums).groupby(level="group", sort=True).sum().reset_index()
    readable = (groups["images"] - groups["unreadable"]).to_numpy()
    for column in groups.columns.intersection(
        ["mean_probability", "called_malignant", "called_malignant_at_threshold"]
    ):
        groups[column] = (groups[column] / readable).where(readable > 0)
    scores = groups if threshold is None else groups.assign(mean_above=groups.get("mean_probability", 0) - threshold)
    for rule, (score, least) in PATIENT_RULES.items():
        if score in scores:
            groups[rule] = np.where(readable > 0, np.where(scores[score] >= least, "yes", "no"), "")
    return groups


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
        rule: One of `PATIENT_RULES`.
    """
    whole = groups[groups["malignant"].notna()]
    parts = {
        "accuracy": whole,
        "sensitivity": whole[whole["malignant"].astype(bool)],
        "specificity": whole[~whole["malignant"].astype(bool)],
    }
    return {name: Proportion(int(part[f"{rule}_right"].astype(bool).sum()), len(part)) for name, part in parts.items()}


def patient_auroc(groups: pd.DataFrame) -> Interval:
    """AUROC of the mean probability of patients, each patient one observation.

    Args:
        groups: Table of `group_table`, with positive classes.
    """
    whole = groups[groups["malignant"].notna()]
    labels = np.where(whole["malignant"].astype(bool), "malignant", "benign")
    score = logit(whole["mean_probability"].clip(1e-12, 1 - 1e-12).to_numpy(float))
    table = pd.DataFrame({"path": "", "label": labels, "group": whole["group"]})
    if len(set(labels)) < 2:
        return Interval(np.nan, np.nan, np.nan, len(whole))
    logits = np.stack([score, np.zeros_like(score)], axis=1)
    return image_intervals(Predictions(table, logits, ("malignant", "benign"), ("malignant",)))["auroc"]


def clustering(predictions: Predictions) -> pd.DataFrame:
    """How much images of one group resemble each other in being predicted correctly.

    Returns:
        One row per metric (accuracy; with positive classes recall and specificity): `metric, groups, images,
        correlation, design_effect, effective_images`. The intra-class correlation is that of an analysis of variance,
        0 where it is negative; the design effect is 1 + (sum(n**2) / sum(n) - 1) * correlation, and as many independent
        images as `effective_images` would tell as much. NaN with one group, or where all images are alike.

    Source: Donner & Koval, Biometrics 36 (1980) 19; Kish, Survey Sampling (1965).
    """
    parts = {"accuracy": (predictions.correct, np.ones(len(predictions.targets), bool))}
    if predictions.positive:
        found = predictions.malignant_probability >= 0.5
        parts |= {"recall": (found, predictions.malignant), "specificity": (~found, ~predictions.malignant)}
    rows = []
    for metric, (correct, used) in parts.items():
        codes, _ = pd.factorize(predictions.table["group"][used])
        sizes, fractions = np.bincount(codes), np.bincount(codes, correct[used]) / np.bincount(codes)
        counts = sizes / predictions.repeats
        groups, images = len(counts), round(counts.sum())
        correlation = _intraclass_correlation(counts, fractions) if groups > 1 and images > groups else np.nan
        effect = 1 + ((counts**2).sum() / max(images, 1) - 1) * correlation
        rows.append((metric, groups, images, correlation, effect, images / effect))
    columns = ["metric", "groups", "images", "correlation", "design_effect", "effective_images"]
    return pd.DataFrame(rows, columns=columns)


def _intraclass_correlation(sizes: np.ndarray, fractions: np.ndarray) -> float:
    images, groups = sizes.sum(), len(sizes)
    mean = (sizes * fractions).sum() / images
    between = (sizes * (fractions - mean) ** 2).sum() / (groups - 1)
    within = (sizes * fractions * (1 - fractions)).sum() / (images - groups)
    size = (images - (sizes**2).sum() / images) / (groups - 1)
    spread = between + (size - 1) * within
    return float(max(0, (between - within) / spread)) if spread > 0 else np.nan
