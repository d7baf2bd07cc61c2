"""`hemai report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Trust


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run; for a checklist also of a cross-validation")
    ],
    checklist: Annotated[
        str | None,
        typer.Option(help="claim, tripod or stard: fill a reporting checklist instead, as csv file and page"),
    ] = None,
    trust: Trust = False,
) -> None:
    """Write report.html, report.md and model_card.md into the folder of a run, or a filled reporting checklist."""
    from hemai.reporting.checklist import report_checklist
    from hemai.reporting.report import report_run

    if checklist is None:
        report_run(run, trust)
    else:
        report_checklist(run, checklist, trust)
