"""`hemai predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Ensemble, Prevalence, Trust
from hemai.utils.errors import UserError, shorten

UNREADABLE = 3  # exit status


def predict(
    run: Ensemble,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES", help="Files, folders and patterns; or one csv file with columns path and, if known, group"
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="New .csv, .parquet or .xlsx: one row per image, with its class and probabilities")
    ],
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression that finds the group in a name, such as '(P\\d+)_': also writes OUT_groups, one "
            "row per group"
        ),
    ] = None,
    prevalence: Prevalence = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT, and drop what an interrupted command left there")
    ] = False,
    trust: Trust = False,
) -> None:
    """Predict unlabelled images with one run or an ensemble (the mean of its probabilities).

    A command that was stopped or killed goes on when it is repeated. Several processes share the images:
    torchrun --nproc-per-node 2 -m hemai predict RUN IMAGES --out FILE

    Exit status: 0; 3 if images are unreadable, which the column error tells; 2 for other errors.
    """
    from hemai.data.image_list import list_images
    from hemai.reporting.console import print_predictions
    from hemai.runs.ensemble import find_saved_runs
    from hemai.runs.ensemble_threshold import choose_ensemble_point
    from hemai.runs.prevalence import prior_shift
    from hemai.runs.processes import join_processes
    from hemai.runs.streaming import stream_predictions
    from hemai.settings.run_folder import RunFolder

    if others := [path for path in images if path.endswith(".ckpt") or RunFolder(Path(path)).best.is_file()]:
        raise UserError(f"{shorten(others)}: expected images; for an ensemble pass the parent folder of the runs")
    with join_processes() as processes:
        runs = find_saved_runs([run], trust)
        point = choose_ensemble_point(runs)
        shift = None if prevalence is None else prior_shift(runs, prevalence)
        summary = stream_predictions(runs, list_images(images, pattern), out, processes, shift, point, overwrite)
    if summary is not None:
        print_predictions(summary, runs, out, shift)
        if summary.unreadable:
            raise typer.Exit(UNREADABLE)
