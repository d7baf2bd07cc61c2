"""`hemai predict`: what trained networks say of images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.data.images import find_images
from hemai.errors import UserError, some
from hemai.evaluation.finished import Finished, find_finished
from hemai.evaluation.predict import predict_files
from hemai.evaluation.predictions import Predictions
from hemai.evaluation.together import name_of, pool_probabilities
from hemai.files import check_writable, write_text
from hemai.runs import Run
from hemai.terminal import say, show_table
from hemai.text import threshold_sentence


def predict_images(run: Path, images: Sequence[str], out: Path, trust: bool = False) -> pd.DataFrame:
    """Predict images, write the calls and print how many were called what.

    Args:
        run: Run folder or checkpoint; or a folder above several runs, whose networks answer together by the mean of
            their probabilities (and of their thresholds, where all have one).
        images: Files, folders and patterns, see `hemai.data.images.find_images`.
        out: New csv file.
        trust: Run code that the run names, even if it is not on the allowlist of `hemai.trust`.

    Returns:
        The content of `out`, one row an image: `path`, `predicted`; with positive classes `malignant` (yes or no, from
        a probability of 0.5 on) and `malignant_at_threshold` (if the checkpoints have one); `probability/<class>`.

    Raises:
        UserError: No such run or image, images that cannot be read, or an `out` that is there or cannot be written.
    """
    if out.exists():
        raise UserError(f"--out: {out} is there; choose another")
    check_writable(out)
    if others := [place for place in images if place.endswith(".ckpt") or Run(Path(place)).best.is_file()]:
        raise UserError(f"{some(others)}: expected images; several runs are named by a folder above them")
    files = find_images(images)
    runs = find_finished([run], trust)
    predictions = pool_probabilities(predict_files([each.model for each in runs], files))
    table = _table(predictions)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, table.to_csv(index=False))
    except OSError as error:
        raise UserError(f"--out: cannot write {out} ({error}); choose another place") from error
    _print_summary(table, predictions, runs, out)
    return table


def _table(predictions: Predictions) -> pd.DataFrame:
    table = predictions.table.assign(predicted=predictions.predicted)
    thresholds = {"malignant": 0.5, "malignant_at_threshold": predictions.threshold} if predictions.positive else {}
    for column, threshold in thresholds.items():
        if threshold is not None:
            table[column] = np.where(predictions.malignant_probability >= threshold, "yes", "no")
    for label, probabilities in zip(predictions.classes, predictions.probabilities.T, strict=True):
        table[f"probability/{label}"] = probabilities
    return table


def _print_summary(table: pd.DataFrame, predictions: Predictions, runs: Sequence[Finished], out: Path) -> None:
    counts = {label: (table["predicted"] == label).sum() for label in predictions.classes}
    for column, threshold in (("malignant", "0.5"), ("malignant_at_threshold", f"{predictions.threshold or 0:.3f}")):
        if column in table:
            counts[f"malignant, from a probability of {threshold} on"] = (table[column] == "yes").sum()
    rows = [(label, f"{count:,}", f"{count / len(table):.1%}") for label, count in counts.items()]
    title = f"{len(table):,} images: {name_of(runs)}, trained on {runs[0].facts['data']}"
    show_table(pd.DataFrame(rows, columns=["predicted", "images", "fraction"]), title)
    if "malignant_at_threshold" in table:
        say(threshold_sentence(predictions.threshold, [run.facts for run in runs]))
    say("Research software, not a medical device: not for diagnosis, not for treatment.")
    print(f"written to {out}")
