"""`hemai networks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def networks(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Models of configs/model/ or timm; default: all of configs/model/"),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes; the default is that of ImageNet")] = 1000,
    size: Annotated[int | None, typer.Option(min=1, help="Input of SIZE x SIZE pixels; default: the network's")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size of the speed measurement")] = 32,
    csv: Annotated[Path | None, typer.Option(help="New file for the table")] = None,
) -> None:
    """Measure models: parameters, layers, multiply-adds, images per second."""
    from hemai.models.cost import measure_networks

    measure_networks(names or [], classes, size, batch, csv)
