"""`hemai networks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def networks(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Of configs/model/ or of timm; none: all of configs/model/"),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Outputs; networks are published with 1000")] = 1000,
    size: Annotated[int | None, typer.Option(min=1, help="Input of SIZE x SIZE pixels; else the network's own")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch, for the speed")] = 32,
    csv: Annotated[Path | None, typer.Option(help="New file for the table")] = None,
) -> None:
    """Model sizes: parameters, layers, multiply-adds, images a second."""
    from hemai.models.cost import measure_networks

    measure_networks(names or [], classes, size, batch, csv)
