"""`hemai compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Trust


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, or their parent folders")],
    out: Annotated[Path | None, typer.Option(help="Folder for the tables")] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Differences to the first run on the same test images, with intervals")
    ] = False,
    margin: Annotated[
        float | None, typer.Option(help="With --paired: largest acceptable loss, such as 0.02 (non-inferiority)")
    ] = None,
    trust: Trust = False,
) -> None:
    """Compare runs: settings, test metrics, caveats, and published results; or their differences (--paired)."""
    if paired:
        from hemai.reporting.paired import compare_paired

        compare_paired(runs, out, margin, trust)
        return
    from hemai.reporting.comparison import compare_runs
    from hemai.utils.errors import UserError

    if margin is not None:
        raise UserError("--margin applies only to --paired; add it")
    compare_runs(runs, out)
