"""`hemai report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Trust


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run")], trust: Trust = False
) -> None:
    """Write report.html, report.md and model_card.md into the folder of a run."""
    from hemai.reporting.report import report_run

    report_run(run, trust)
