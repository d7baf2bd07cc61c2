"""`hemai evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Prevalence, Seed, Trust, with_config_folders
from hemai.utils.errors import UserError, shorten


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, their parents, checkpoints, exported runs, hf-hub:OWNER/NAME; then data=NAME "
            "data.root=DIR for an external test set. Or one csv file with predictions "
            "of another program: columns group, label, probability",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the report, metrics, groups and predictions")],
    classes: Annotated[
        str | None,
        typer.Option(help="Class of the data: class of the run, such as 'Benign: hem, Early: all'; or a YAML file"),
    ] = None,
    positive: Annotated[
        list[str] | None, typer.Option(help="Malignant class in a csv file whose labels are not 0 and 1")
    ] = None,
    prevalence: Prevalence = None,
    seed: Seed = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Evaluate runs by class and by patient, with intervals for new patients, and write a report.

    The test images of several runs are pooled, each as predicted by the run that did not train on it. On an external
    test set several runs are evaluated as an ensemble.
    """
    from hemai.reporting.evaluations import evaluate_file, evaluate_runs

    runs = [Path(argument) for argument in arguments if Path(argument).exists() or "=" not in argument]
    if not runs:
        raise UserError(f"no run among {shorten(arguments)}; expected the folder of a finished run")
    if runs[0].suffix.lower() == ".csv":
        if len(arguments) > 1 or classes:
            raise UserError(f"{shorten(arguments)}: a csv file is evaluated alone; remove the rest")
        if prevalence is not None:
            raise UserError("--prevalence needs a run, which tells its training images; remove --prevalence")
        evaluate_file(runs[0], out, positive or ())
        return
    if positive:
        raise UserError("--positive: a run has its own malignant classes; remove --positive")
    overrides = [argument for argument in arguments if Path(argument) not in runs]
    evaluate_runs(runs, out, with_config_folders(overrides, config_dir), classes, trust, prevalence)
