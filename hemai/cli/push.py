"""`hemai push`."""

from __future__ import annotations

from typing import Annotated

import typer

from hemai.cli.options import Run, Trust
from hemai.utils.errors import UserError


def push(
    run: Run,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hugging Face Hub")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an existing repository")] = False,
    trust: Trust = False,
) -> None:
    """Upload a run to the Hugging Face Hub: weights, settings and model card, after showing what will be public.

    The token is that of huggingface_hub: HF_TOKEN, or hf auth login. Images, predictions, paths and names of patients
    are not uploaded. Every verb then takes hf-hub:OWNER/NAME for a run.
    """
    from hemai.export.export import find_run
    from hemai.export.push import check_new_repository, describe_upload, exported, upload
    from hemai.reporting.public_card import public_card

    check_new_repository(repository, overwrite)
    saved = find_run(run, trust)
    with exported(saved, public_card(saved)) as folder:
        describe_upload(folder, saved, repository, private)
        if not yes and not typer.confirm("Upload this?"):
            raise UserError("nothing was uploaded")
        upload(folder, repository, private)
