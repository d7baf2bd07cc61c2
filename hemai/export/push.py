"""Upload an exported run to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, errors

from hemai.export.folder import write_folder
from hemai.runs.exported_folder import CARD
from hemai.runs.hub import HUB, check_repository
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import CONTROL, UserError, one_line


def check_new_repository(name: str, overwrite: bool) -> None:
    """Refuse a name that is none, or (without `overwrite`) one that exists.

    Raises:
        UserError: Also without a network.
    """
    check_repository(name, "OWNER/NAME, such as my-lab/cnmc-custom-cnn")
    with _hub_errors(name):
        exists = HfApi().repo_exists(name)
    if exists and not overwrite:
        raise UserError(f"{name} already exists on the hub; choose another name, or add --overwrite")


@contextmanager
def exported(run: SavedRun, card: str) -> Iterator[Path]:
    """Temporary folder with what is uploaded; see `hemai.export.folder.write_folder`."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(run, Path(folder), card)
        yield Path(folder)


def describe_upload(folder: Path, run: SavedRun, name: str, private: bool) -> None:
    """Print what will be uploaded: model card, files, data set with its licence, and who can see it."""
    print(CONTROL.sub("?", (folder / CARD).read_text("utf-8")))
    print(f"{name} ({'private' if private else 'PUBLIC'}) will hold:")
    for file in sorted(folder.iterdir()):
        print(f"  {file.name}  {file.stat().st_size / 1e6:,.2f} MB")
    of_data = f": {run.dataset.citation} Licence: {run.dataset.license}" if run.dataset else "; its licence: see above"
    sentences = [f"Trained on {run.metadata['data']}{of_data}"]
    if source := run.metadata.get("source"):  # of initial weights that others published
        texts = ", ".join(f"{name}: {text}" for name, text in source.items())
        sentences.append(f"Started from weights of others: {texts}")
    print(CONTROL.sub("?", "\n".join(sentences)))
    print("Check that the licences, and the consent of the patients, allow you to publish a network trained on it.")


def upload(folder: Path, name: str, private: bool) -> None:
    """Create the repository if need be, and upload the files of a folder.

    Raises:
        UserError: No token, no permission or no network.
    """
    with _hub_errors(name):
        HfApi().create_repo(name, private=private, exist_ok=True)
        HfApi().upload_folder(repo_id=name, folder_path=folder, commit_message="Upload by hemai push")
    print(f"uploaded: {constants.ENDPOINT}/{name}")
    print(f"to use it: hemai predict {HUB}{name} IMAGES --out FILE.csv")


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise UserError(f"no token for {name}; set HF_TOKEN, or run hf auth login") from error
    except errors.HfHubHTTPError as error:
        raise UserError(
            f"the hub refuses {name} ({one_line(error)}); check the name and the rights of HF_TOKEN"
        ) from error
    except Exception as error:  # of many kinds: those of the client that huggingface_hub uses
        raise UserError(f"the hub cannot be reached ({one_line(error)}); check the network and repeat") from error
