"""`hemai tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Trust, with_config_folders


def tune(
    space: Annotated[
        Path, typer.Option(help="YAML file: key of a setting: [values] or {low: 1e-5, high: 1e-2, log: true}")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for trials, plots and the best run; the same command goes on there")
    ],
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try, of all workers together")] = 50,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Database of the trials; by default sqlite:///OUT/study.db")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds of the patients outside the test; by default as crossvalidate")
    ] = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Search settings on folds of the development patients, and test the best once; several workers may run it."""
    from hemai.utils.errors import UserError

    try:
        from hemai.training.search import search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("hemai tune needs optuna; install it: pip install 'hemai[tune]'") from error
    from hemai.reporting.report import report_run
    from hemai.reporting.search_plots import draw_search

    study, monitor, best = search(with_config_folders(overrides, config_dir), space, trials, out, storage, folds, trust)
    draw_search(study, monitor, out)
    report_run(best, trust)
