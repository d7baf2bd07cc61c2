"""`hemai crossvalidate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Seed, Trust, with_config_folders


def crossvalidate(
    out: Annotated[Path, typer.Option(help="Folder for the folds and the report; finished folds there are kept")],
    overrides: Overrides = None,
    seed: Seed = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Cross-validate by patient and report pooled out-of-fold predictions."""
    from hemai.reporting.evaluations import evaluate_test_sets
    from hemai.runs.saved_run import SavedRun
    from hemai.training.launch import train_folds

    folders = train_folds(with_config_folders(overrides, config_dir), out, trust)
    evaluate_test_sets([SavedRun(folder, trust) for folder in folders], out)
