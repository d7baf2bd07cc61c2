"""`hemai crossvalidate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Seed, Trust, with_config_folders


def crossvalidate(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the report; finished runs there are kept")],
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions with other folds and seeds; metrics are means")] = 5,
    nested: Annotated[
        bool, typer.Option(help="Choose epoch and threshold by inner folds, or else on data.val_share of each fold")
    ] = True,
    seed: Seed = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Cross-validate by patient, repeated and nested, and report the pooled out-of-fold predictions."""
    from hemai.reporting.evaluations import evaluate_test_sets
    from hemai.runs.saved_run import SavedRun
    from hemai.training.crossvalidation import crossvalidate as train_folds

    folders = train_folds(with_config_folders(overrides, config_dir), out, repeats, nested, trust)
    evaluate_test_sets([SavedRun(folder, trust) for folder in folders], out)
