"""`hemai plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Trust


def plan(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folder, or the folds of a cross-validation")],
    half_width: Annotated[float, typer.Option(help="Half the width of the 95 % interval, such as 0.05")] = 0.05,
    trust: Trust = False,
) -> None:
    """Estimate how many patients of each class a test needs, from a run's own test images."""
    from hemai.reporting.planning import plan_test

    plan_test(runs, half_width, trust)
