"""`hemai leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Trust, with_config_folders


def leakage(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table; finished runs there are kept")],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, each trained with both splits")] = 3,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Quantify the optimism of an image-level split: train with one and with a patient-level split."""
    from hemai.reporting.leakage_gap import report_leakage
    from hemai.training.launch import train_by_image_and_by_group

    folders = train_by_image_and_by_group(with_config_folders(overrides, config_dir), out, seeds, trust)
    report_leakage(folders, out)
