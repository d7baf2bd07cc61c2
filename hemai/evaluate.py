"""`hemai evaluate`: the figures of a finished run with intervals, by class and by group."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hemai.build import build
from hemai.classifier import CellClassifier
from hemai.config import checked_arguments, compose
from hemai.errors import UserError, some
from hemai.evaluation import plots
from hemai.evaluation.calibration import abstention, calibration_figures, reliability
from hemai.evaluation.groups import Share, group_figures, group_table
from hemai.evaluation.intervals import FEW_GROUPS, Interval, group_intervals, image_intervals
from hemai.evaluation.predict import predict_dataset
from hemai.evaluation.predictions import Predictions, read_predictions
from hemai.figures import save
from hemai.files import write_text
from hemai.models.weights import read_torch_file
from hemai.runs import Run
from hemai.transforms import Recipe

FIRST = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1", "auroc", "loss")
VOTES = {"majority": "majority of the images", "mean_vote": "mean probability"}
SHOWN = 30  # groups on the terminal; the file has all


def evaluate(run: Path, out: Path, overrides: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
    """Figures of a run on its own test images, or of its checkpoint on all images of another root.

    Args:
        run: Run folder, or a checkpoint.
        out: New or empty folder for `result.json`, `figures.csv`, `groups.csv`, `reliability.csv`, `abstention.csv` and
            `predictions.csv`.
        overrides: `data=... data.root=...` as for train.py; empty: the run's own test images.
        seed: Of the resamples of the interval over images.

    Returns:
        The content of `result.json`: `test/<figure>`, `/low` and `/high` (over groups), `/low_images` and
        `/high_images`, `test/ece`, `test/brier`, `test/groups`, `test/images`, `test/<vote>/<figure>` of groups as a
        whole, and `groups_shared` with the training or validation of the run.

    Raises:
        UserError: No such run, predictions that do not fit the checkpoint, or an `out` that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is there and no empty folder; choose another")
    model = _load(run)
    if overrides:
        if not any(override.startswith("data=") for override in overrides):
            raise UserError(f"{some(overrides)}: expected data=NAME too, such as data=cnmc data.root=DIR")
        data = build(compose(checked_arguments(overrides)).data, transform=Recipe([]))
        predictions = predict_dataset(model, data.dataset, data.skip_unreadable)
        kind, name = data.dataset.group_kind, data.dataset.name
    else:
        file = run / "predictions_test.csv"
        if not file.is_file():
            raise UserError(f"{run} has no test predictions; name images with data=... data.root=...")
        predictions = read_predictions(file, model.classes, model.positive)
        kind, name = model.hparams["facts"]["group_kind"], model.hparams["facts"]["data"]
    over_groups, over_images = group_intervals(predictions), image_intervals(predictions, seed=seed)
    groups = group_table(predictions)
    patients = kind == "patient" and bool(predictions.positive)
    votes = {vote: group_figures(groups, vote) for vote in VOTES} if patients else {}
    shared = _trained_groups(run, predictions) if name == model.hparams["facts"]["data"] else []
    calibration = calibration_figures(predictions)
    result = _flat(predictions, over_groups, over_images, votes) | {"groups_shared": len(shared)}
    result |= {f"test/{name}": value for name, value in calibration.items()}
    figures = pd.DataFrame(_rows(over_groups, over_images))
    bins, answered = reliability(predictions), abstention(predictions)
    written = {"figures": figures, "groups": groups, "reliability": bins, "abstention": answered}
    drawn = {"reliability": plots.draw_reliability(bins), "abstention": plots.draw_abstention(answered)}
    if kind != "image":
        drawn["groups"] = plots.draw_groups(groups, kind)
    if predictions.malignant.any() and not predictions.malignant.all():
        drawn["roc"] = plots.draw_roc(predictions, kind, seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "predictions.csv", predictions.to_csv())
        for file_name, table in written.items():
            write_text(out / f"{file_name}.csv", table.to_csv(index=False))
        for file_name, picture in drawn.items():
            save(picture, out / "figures" / f"{file_name}.png")
        write_text(out / "result.json", json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--out: cannot write to {out} ({error}); free space or choose another folder") from error
    console = Console()
    _print(console, f"{name}: {len(predictions.targets):,} images", kind, predictions, figures, groups, votes)
    surest = answered.set_index("coverage")["accuracy"][0.5]
    console.print(
        f"- calibration: ECE {calibration['ece']:.3f}, Brier score {calibration['brier']:.3f}; accuracy on the surest "
        f"half of the images {surest:.3f}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if shared:
        console.print(
            f"- WARNING, leakage: {len(shared):,} of these {kind}s were trained or validated on ({some(shared)}); "
            f"the figures say nothing of new {kind}s",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)
    return result


def _trained_groups(run: Path, predictions: Predictions) -> list[str]:
    """Groups of these images that the run was trained or validated on, by its `splits.csv`, where that is there."""
    file = (run if run.is_dir() else run.parent.parent) / "splits.csv"
    if not file.is_file():
        return []
    splits = pd.read_csv(file, dtype=str, keep_default_na=False)
    return sorted(set(splits["group"][splits["split"].isin(("train", "val"))]) & set(predictions.table["group"]))


def _load(run: Path) -> CellClassifier:
    checkpoint = Run(run).best if run.is_dir() else run
    if not checkpoint.is_file():
        raise UserError(f"no checkpoint at {checkpoint}; expected the folder of a finished run, or a .ckpt file")
    content = read_torch_file(checkpoint, "RUN")
    if not isinstance(content, dict) or "facts" not in content.get("hyper_parameters", {}):
        raise UserError(f"{checkpoint} is no checkpoint of hemai")
    model = CellClassifier(**content["hyper_parameters"])
    model.load_state_dict(content["state_dict"])
    return model.eval()


def _rows(over_groups: Mapping[str, Interval], over_images: Mapping[str, Interval]) -> list[dict[str, Any]]:
    names = [*(name for name in FIRST if name in over_groups), *(name for name in over_groups if name not in FIRST)]
    return [
        {
            "figure": name,
            "value": over_groups[name].value,
            "low": over_groups[name].low,
            "high": over_groups[name].high,
            "groups": over_groups[name].groups,
            "low_images": over_images[name].low,
            "high_images": over_images[name].high,
        }
        for name in names
    ]


def _flat(
    predictions: Predictions,
    over_groups: Mapping[str, Interval],
    over_images: Mapping[str, Interval],
    votes: Mapping[str, Mapping[str, Share]],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for row in _rows(over_groups, over_images):
        name = f"test/{row['figure']}"
        result[name] = row["value"]
        result |= {f"{name}/{limit}": row[limit] for limit in ("low", "high", "low_images", "high_images")}
    for vote, shares in votes.items():
        for name, share in shares.items():
            result[f"test/{vote}/{name}"] = share.interval.value
            result |= {f"test/{vote}/{name}/low": share.interval.low, f"test/{vote}/{name}/high": share.interval.high}
    result = {name: None if math.isnan(value) else round(value, 7) for name, value in result.items()}
    result["test/images"] = len(predictions.targets)
    result["test/groups"] = predictions.table["group"].nunique()
    return result


def _print(
    console: Console,
    title: str,
    kind: str,
    predictions: Predictions,
    figures: pd.DataFrame,
    groups: pd.DataFrame,
    votes: Mapping[str, Mapping[str, Share]],
) -> None:
    table = Table(title=f"{title}, {len(groups):,} {kind}s", title_justify="left")
    for heading in ("figure", "value", f"95 % for new {kind}s", f"{kind}s", "95 % if images were independent"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for row in figures.to_dict("records"):
        table.add_row(
            escape(row["figure"]), _number(row["value"]), _limits(row["low"], row["high"]), str(row["groups"]),
            _limits(row["low_images"], row["high_images"]),
        )  # fmt: skip
    console.print(table)
    for vote, shares in votes.items():
        told = (
            f"{name} {share.right} of {share.groups} ({_limits(share.interval.low, share.interval.high)})"
            for name, share in shares.items()
        )
        console.print(f"- {kind}s called by {VOTES[vote]}: {', '.join(told)}", highlight=False, soft_wrap=True)
    of_class = predictions.table.groupby("label")["group"].nunique()
    if few := [f"{label} ({count})" for label, count in of_class.items() if count < FEW_GROUPS]:
        console.print(
            f"- WARNING, fewer than {FEW_GROUPS} {kind}s of {some(few)}: intervals mean little",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if kind != "image":
        worst = Table(title=f"{kind}s, worst first", title_justify="left")
        columns = [name for name in ("called_malignant", "mean_probability") if name in groups]
        for heading in ("group", "label", "images", "accuracy", *(name.replace("_", " ") for name in columns)):
            worst.add_column(heading, justify="left" if heading in ("group", "label") else "right")
        for row in groups.head(SHOWN).to_dict("records"):
            numbers = (f"{row[name]:.3f}" for name in ("accuracy", *columns))
            worst.add_row(escape(row["group"]), escape(row["label"]), f"{row['images']:,}", *numbers)
        console.print(worst)
        if len(groups) > SHOWN:
            console.print(f"- and {len(groups) - SHOWN:,} more in groups.csv", highlight=False)


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4f}"


def _limits(low: float, high: float) -> str:
    return "not defined" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
