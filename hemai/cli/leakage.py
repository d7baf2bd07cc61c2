"""`hemai leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Trust, with_config_folders


def leakage(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the tables; finished runs there are kept")],
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, each with its own folds and seed")] = 1,
    dose: Annotated[
        list[float] | None,
        typer.Option(help="Fraction of each test patient's images that leak into training, up to 0.5; repeatable"),
    ] = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Measure leakage: train without and with half of each test patient's images, and test the other half."""
    from hemai.reporting.leakage_gap import report_leakage
    from hemai.training.leakage import train_clean_and_leaky

    doses = sorted(set(dose or [0.5]))
    folders = train_clean_and_leaky(with_config_folders(overrides, config_dir), out, repeats, doses, trust)
    report_leakage(folders, out, trust)
