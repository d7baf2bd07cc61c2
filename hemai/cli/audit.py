"""`hemai audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Trust, with_config_folders


def audit(
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="Run on the same split, shown for comparison")] = None,
    out: Annotated[Path | None, typer.Option(help="New csv file for the table")] = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """AUROC of shortcut features (colour, cell area, corners, file size), and duplicates."""
    from hemai.reporting.report import audit_data

    audit_data(with_config_folders(overrides, config_dir), run, out, trust)
