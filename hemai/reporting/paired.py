"""Compare runs on the same test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hemai.evaluation.metrics import MAIN
from hemai.evaluation.paired import Difference, align, holm, paired_differences
from hemai.evaluation.resampled import Resampled, resampled_differences
from hemai.reporting.sections_controls import control_sections
from hemai.reporting.text import format_interval, format_number
from hemai.runs.ensemble import find_saved_runs, pool_test_predictions
from hemai.utils.errors import UserError
from hemai.utils.files import csv_text, output_errors, write_text
from hemai.utils.terminal import say, show_table

FILE = "paired.csv"


def compare_paired(
    paths: Sequence[Path], out: Path | None = None, margin: float | None = None, trust: bool = False
) -> pd.DataFrame:
    """Print the differences of runs to the first one on the same test images, and write them as csv.

    Args:
        paths: Two or more; each a run folder, or a folder above the folds of a cross-validation, which are pooled.
        out: Folder for `paired.csv`.
        margin: Largest loss of a metric that is still acceptable, above 0: tests each run for non-inferiority.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        The content of `paired.csv`, one row per metric and run: `metric, reference, run, reference_value, value,
        difference, low, high, p, p_holm` (adjusted for the number of runs), `verdict`; for cross-validations with the
        same folds also `low_networks, high_networks, p_networks` of `resampled_differences`.

    Raises:
        UserError: Fewer than two runs, runs without test predictions or with other test images, or `out` exists.
    """
    if len(paths) < 2:
        raise UserError("--paired: expected two runs or more, the reference first")
    if repeated := [str(path) for path in paths if list(paths).count(path) > 1]:
        raise UserError(f"--paired: {repeated[0]} is given twice; name each run once")
    if margin is not None and not 0 < margin < 1:
        raise UserError(f"--margin {margin:g}: expected a number above 0 and below 1, such as 0.02")
    if out and (out / FILE).exists():
        raise UserError(f"--out: {out / FILE} already exists; choose another folder")
    reference, *others = paths
    runs = {path: find_saved_runs([path], trust) for path in paths}
    predictions = {path: pool_test_predictions(of_path) for path, of_path in runs.items()}
    found = {path: paired_differences(predictions[reference], predictions[path]) for path in others}
    resampled = {
        path: resampled_differences(align(predictions[reference]), align(predictions[path])) for path in others
    }
    rows = []
    for metric in (name for name in MAIN if all(name in differences for differences in found.values())):
        adjusted = holm({str(path): differences[metric].p for path, differences in found.items()})
        for path, differences in found.items():
            row = _row(metric, reference, path, differences[metric], adjusted[str(path)], margin)
            rows.append(row | _over_networks(resampled[path].get(metric)))
    table = pd.DataFrame(rows)
    _print(table, len(others))
    for section in control_sections([run for of_path in runs.values() for run in of_path]):
        say(*section.sentences)
    if out:
        with output_errors(out):
            out.mkdir(exist_ok=True)
            write_text(out / FILE, csv_text(table))
        print(f"written to {out / FILE}")
    return table


def _row(
    metric: str, reference: Path, run: Path, difference: Difference, adjusted: float, margin: float | None
) -> dict[str, object]:
    return {
        "metric": metric,
        "reference": str(reference),
        "run": str(run),
        "reference_value": difference.one,
        "value": difference.other,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "p_holm": adjusted,
        "verdict": difference.verdict(adjusted, margin),
    }


def _over_networks(resampled: Resampled | None) -> dict[str, object]:
    if resampled is None:
        return {}
    limits = {f"{end}_networks": getattr(resampled, end) for end in ("low", "high", "p")}
    return {**limits, "networks": resampled.networks}


def _format_p(p: float) -> str:
    return "not defined" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _print(table: pd.DataFrame, runs: int) -> None:
    """Print a table per run, and a sentence on the AUROC, or on the accuracy where it is not defined."""
    for run, rows in table.groupby("run", sort=False):
        shown = pd.DataFrame(
            {
                "metric": rows["metric"],
                "A": rows["reference_value"].map(format_number),
                "B": rows["value"].map(format_number),
                "B - A": rows["difference"].map(lambda value: format_number(value, "+")),
                "95 % for new groups": [
                    format_interval(low, high, "+") for low, high in rows[["low", "high"]].to_numpy(float)
                ],
                "p" if runs == 1 else f"p ({runs} runs, Holm)": rows["p_holm"].map(_format_p),
                "B is": rows["verdict"],
            }
        )
        show_table(shown, f"A: {rows['reference'].iloc[0]}\nB: {run}")
        main = rows[rows["metric"] == ("auroc" if "auroc" in set(rows["metric"]) else "accuracy")].iloc[0]
        limits = format_interval(main["low"], main["high"])
        say(f"{main['metric']}: B - A = {main['difference']:.3f} ({limits}): {main['verdict']}.")
        if "networks" in rows and not math.isnan(main["networks"]):
            limits = format_interval(main["low_networks"], main["high_networks"])
            say(
                f"Over {main['networks']:.0f} pairs of networks, for other seeds and folds of these patients: {limits} "
                f"(corrected resampled t, p {_format_p(main['p_networks'])})."
            )
