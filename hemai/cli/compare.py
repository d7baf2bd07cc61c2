"""`hemai compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, or their parent folders")],
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.csv and comparison.md")] = None,
) -> None:
    """Compare runs: settings, test metrics, caveats, and published results."""
    from hemai.reporting.comparison import compare_runs

    compare_runs(runs, out)
