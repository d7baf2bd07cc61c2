"""`hemai explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Run, Trust


def explain(
    run: Run,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Files, folders and patterns")],
    out: Annotated[Path, typer.Option(help="New folder for overlays, sheet.png, explain.html and tables")],
    method: Annotated[str | None, typer.Option(help="hires_cam or integrated_gradients; without it both")] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Explain this class, not the one predicted for each image")
    ] = None,
    most: Annotated[int, typer.Option(help="Most images on sheet and page")] = 64,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names in --out")] = False,
    trust: Trust = False,
) -> None:
    """Show which pixels the predictions of a run rest on, and how much lies on nucleus, cytoplasm and background."""
    from hemai.reporting import explanations

    explanations.explain(run, images, out, method, label, most, overwrite, trust)
