"""Leakage gap: what images of the tested patients in training add to the metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.evaluation.metrics import MAIN
from hemai.evaluation.paired import Difference, paired_differences
from hemai.evaluation.per_patient import group_table
from hemai.evaluation.predictions import Predictions, pool_predictions
from hemai.reporting.text import format_interval
from hemai.runs.saved_run import SavedRun
from hemai.utils.files import csv_text, write_text
from hemai.utils.terminal import say, show_table


def report_leakage(
    folders: Mapping[float, Sequence[Sequence[Path]]], out: Path, trust: bool = False
) -> dict[float, dict[str, Difference]]:
    """Report the leakage gap: metrics of leaky networks less those of clean ones, on the same images.

    Args:
        folders: Result of `hemai.training.leakage.train_clean_and_leaky`.
        out: Folder for `result.json`, and for `leakage.csv`: one row per dose and patient.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        Dose -> metric -> difference, with an interval for new patients.
    """
    predictions = {
        dose: [[SavedRun(folder, trust).predictions() for folder in fold] for fold in folds]
        for dose, folds in folders.items()
    }
    clean = [of_fold for (of_fold,) in predictions.pop(0.0)]
    gaps, tables = {}, []
    for dose, leaky in predictions.items():
        tested = [(whole, half) for whole, halves in zip(clean, leaky, strict=True) for half in halves]
        one = pool_predictions([_part(whole, half) for whole, half in tested])
        other = pool_predictions([half for _, half in tested])
        gaps[dose] = paired_differences(one, other)
        tables.append(_by_group(one, other).assign(dose=dose))
        _print(gaps[dose], dose, one)
    values: dict[str, float] = {}
    for dose, differences in gaps.items():
        for name in (name for name in MAIN if name in differences):
            gap = differences[name]
            values |= {f"clean/{name}": gap.one, f"leaky_{dose:g}/{name}": gap.other, f"gap_{dose:g}/{name}": gap.value}
            values |= {f"gap_{dose:g}/{name}/{end}": getattr(gap, end) for end in ("low", "high")}
    rounded = {name: None if math.isnan(value) else round(value, 7) for name, value in values.items()}
    write_text(out / "leakage.csv", csv_text(pd.concat(tables)))
    write_text(out / "result.json", json.dumps(rounded, indent=2) + "\n")
    print(f"written to {out}")
    return gaps


def _part(whole: Predictions, part: Predictions) -> Predictions:
    """The predictions in `whole` of the images of `part`, without thresholds."""
    rows = np.flatnonzero(whole.table["path"].isin(part.table["path"]))
    return replace(whole, table=whole.table.iloc[rows], logits=whole.logits[rows])


def _by_group(one: Predictions, other: Predictions) -> pd.DataFrame:
    clean, leaky = (group_table(each).set_index("group") for each in (one, other))
    columns = {"label": clean["label"], "images": clean["images"], "clean": clean["accuracy"]}
    table = pd.DataFrame({**columns, "leaky": leaky["accuracy"]})
    return table.assign(gap=table["leaky"] - table["clean"]).reset_index().sort_values("group")


def _print(differences: Mapping[str, Difference], dose: float, tested: Predictions) -> None:
    kind, groups = tested.group_kind, tested.table["group"].nunique()
    rows = [
        (name, f"{gap.one:.3f}", f"{gap.other:.3f}", f"{gap.value:+.3f}", format_interval(gap.low, gap.high, "+"))
        for name, gap in differences.items()
        if name in MAIN
    ]
    columns = ["metric", "clean", "leaky", "gap", f"95 % for new {kind}s"]
    show_table(pd.DataFrame(rows, columns=columns), f"leakage gap: {tested.images:,} images of {groups:,} {kind}s")
    say(
        f"clean: trained on other {kind}s; leaky: on as many images of the same classes, among them {100 * dose:g} % "
        f"of the images of each tested {kind}. Both are tested on the same images, which trained neither"
    )
