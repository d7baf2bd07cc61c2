"""`hemai segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def segment(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders and patterns; also settings: transform=hosseini, transform.prepare.segment.KEY=VALUE"
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for masks, cut-outs, overlays and segments.csv")],
    size: Annotated[int | None, typer.Option(help="Resize to SIZE x SIZE pixels first")] = None,
    stages: Annotated[bool, typer.Option(help="Draw the six stages of each image")] = False,
) -> None:
    """Segment the nuclei in images: LAB, K-means, clean-up, mask."""
    from hemai.reporting.segmentation import segment_images

    segment_images(images, out, size, stages)
