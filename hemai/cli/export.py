"""`hemai export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import Run, Trust


def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="New file (.onnx, .pt2, .pth), for safetensors a new folder")],
    format: Annotated[str, typer.Option(help="onnx, torch, safetensors or state_dict")] = "onnx",
    images: Annotated[
        list[str] | None,
        typer.Option(help="Images to compare the export with the run on, if those of the run are not here"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="onnx with 8-bit integers; prints the loss of AUROC and the speed")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out")] = False,
    trust: Trust = False,
) -> None:
    """Export a run for other programs: plain uint8 RGB images in, probabilities out; scaling is inside.

    The export is compared with the run on real images before it is written. timm loads a folder of safetensors, and
    every verb takes it for a run.
    """
    from hemai.export.export import check_arguments, export_run, find_run
    from hemai.reporting.public_card import public_card

    check_arguments(format, out, int8, overwrite)
    saved = find_run(run, trust)
    card = public_card(saved) if format == "safetensors" else ""
    export_run(saved, format, out, images or (), int8, card)
