"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings, such as data=cnmc data.root=DIR; hemai train --cfg job lists all"),
]
ConfigDir = Annotated[
    list[str] | None,
    typer.Option("--config-dir", "-cd", metavar="DIR", help="Your own configs: DIR/data/NAME.yaml is data=NAME"),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="DANGEROUS: run code that the run folder or checkpoint names; only if you know who made it",
    ),
]

ONE_RUN = "Run folder, checkpoint, folder of exported safetensors, or hf-hub:OWNER/NAME"
Run = Annotated[Path, typer.Argument(metavar="RUN", help=ONE_RUN)]
Ensemble = Annotated[
    Path, typer.Argument(metavar="RUN", help=f"{ONE_RUN}; for an ensemble the parent folder of several runs")
]
Prevalence = Annotated[
    float | None,
    typer.Option(
        help="Fraction of malignant images where the network is used, such as 0.05: its probabilities and thresholds, "
        "learned at that of the training images, are adjusted to it"
    ),
]


def _warn_about_seed(seed: int | None) -> None:
    if seed is not None:
        typer.echo("--seed has no effect any more: intervals are not random; remove it", err=True)


Seed = Annotated[int | None, typer.Option(hidden=True, callback=_warn_about_seed)]  # for scripts of earlier versions


def with_config_folders(overrides: Sequence[str] | None, config_dir: Sequence[str] | None) -> list[str]:
    """Add the folders of `--config-dir` to the overrides, as Hydra's search path."""
    from hemai.settings.overrides import take_config_folders

    return take_config_folders([*(f"--config-dir={folder}" for folder in config_dir or []), *(overrides or [])])
