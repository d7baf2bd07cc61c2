"""`hemai predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Prevalence, Trust
from hemai.utils.errors import UserError, shorten


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder or checkpoint; for an ensemble the parent folder of runs")
    ],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Files, folders and patterns")],
    out: Annotated[Path, typer.Option(help="New csv file: one row per image, with its class and probabilities")],
    prevalence: Prevalence = None,
    trust: Trust = False,
) -> None:
    """Predict unlabelled images with one run or an ensemble (the mean of its probabilities)."""
    from hemai.reporting.console import print_predictions
    from hemai.runs.ensemble import find_saved_runs, pool_probabilities
    from hemai.runs.ensemble_threshold import choose_ensemble_point
    from hemai.runs.inference import predict_images, prediction_table
    from hemai.runs.prevalence import prior_shift
    from hemai.settings.run_folder import RunFolder
    from hemai.utils.files import check_new_file, csv_text, output_errors, write_text

    check_new_file(out)
    if others := [path for path in images if path.endswith(".ckpt") or RunFolder(Path(path)).best.is_file()]:
        raise UserError(f"{shorten(others)}: expected images; for an ensemble pass the parent folder of the runs")
    runs = find_saved_runs([run], trust)
    parts = predict_images([each.model for each in runs], images)
    predictions = pool_probabilities(parts, choose_ensemble_point(runs))
    shift = None if prevalence is None else prior_shift(runs, predictions, prevalence)
    predictions = predictions if shift is None else shift.adjust(predictions)
    table = prediction_table(predictions)
    with output_errors(out):
        write_text(out, csv_text(table))
    print_predictions(table, predictions, runs, out, shift)
