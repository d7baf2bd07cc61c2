"""A prediction of many images that outlives the process: finished blocks in a folder beside the output file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemai.runs.hold import hold_folder
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import read_regular_file, replace_file, write_text

BLOCK = 1024  # images; a multiple of the batch, so that batches are the same on any number of processes


@dataclass(frozen=True)
class PredictionJob:
    """Blocks of logits in the folder `FILE.part`.

    Attributes:
        out: File that the predictions will be written to.
        count: Number of images.
    """

    out: Path
    count: int

    @property
    def folder(self) -> Path:
        """Folder of the blocks, on the disk of the output file."""
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def blocks(self) -> range:
        """Numbers of all blocks."""
        return range(-(-self.count // BLOCK))

    @property
    def _key_file(self) -> Path:
        return self.folder / "job.json"

    def rows(self, block: int) -> range:
        """Positions of the images of a block."""
        return range(block * BLOCK, min((block + 1) * BLOCK, self.count))

    def missing(self) -> list[int]:
        """Blocks that are still to predict."""
        return [block for block in self.blocks if not self._file(block).is_file()]

    def count_done(self) -> int:
        """Number of images that are predicted."""
        return self.count - sum(len(self.rows(block)) for block in self.missing())

    def save(self, block: int, logits: np.ndarray, errors: Sequence[str]) -> None:
        """Store a block atomically.

        Args:
            block: Its number.
            logits: Shape (networks, images of the block, classes); any numbers for unreadable images.
            errors: Why each image could not be read; empty if it could.
        """
        with replace_file(self._file(block)) as file:
            np.savez(file, logits=logits, errors=np.array(errors, np.str_))

    def load(self, block: int) -> tuple[np.ndarray, list[str]]:
        """Logits and errors of a block; see `save`.

        Raises:
            UserError: The file is damaged.
        """
        try:
            with np.load(self._file(block)) as stored:
                logits, errors = stored["logits"], stored["errors"].tolist()
            if logits.ndim != 3 or logits.shape[1] != len(self.rows(block)) or len(errors) != logits.shape[1]:
                raise ValueError(f"its shape is {logits.shape}")
        except Exception as error:  # of any kind: numpy and zipfile have their own
            raise UserError(
                f"{self._file(block)} is damaged ({error}); repeat the command, which predicts it again"
            ) from error
        return logits, errors

    def check_key(self, key: Mapping[str, Any]) -> None:
        """Refuse to go on with what another command began.

        Raises:
            UserError: The message names what differs.
        """
        try:
            found = json.loads(read_regular_file(self._key_file))
            differ = [name for name in key if found[name] != key[name]]
        except (OSError, ValueError, KeyError, TypeError):
            differ = ["all that it records"]
        if differ:
            raise UserError(
                f"{self.folder} holds the unfinished prediction of another command (it differs in {shorten(differ)}); "
                f"repeat that command to go on with it, add --overwrite to begin anew, or choose another --out"
            )

    def start(self, key: Mapping[str, Any], overwrite: bool) -> None:
        """Create the folder, or go on with what the same command began; damaged blocks are removed.

        With `overwrite` begin anew; the command may then go on without it, and still replaces the tables.

        Raises:
            UserError: See `check_key`.
        """
        if self._key_file.exists() and not overwrite:
            self.check_key(key)
            for block in set(self.blocks) - set(self.missing()):
                try:
                    self.load(block)
                except UserError:
                    self._file(block).unlink()
            return
        self._key_file.unlink(missing_ok=True)
        self._remove_blocks()
        write_text(self._key_file, json.dumps(key, indent=2) + "\n")
        if overwrite:
            self.writing.touch()

    @property
    def writing(self) -> Path:
        """Mark of a job that may replace its tables: it began to write them, or was told to."""
        return self.folder / "writing"

    def remove(self) -> None:
        """Remove what a finished prediction stored."""
        self._remove_blocks()
        for file in (self._key_file, self.writing):
            file.unlink(missing_ok=True)

    def _file(self, block: int) -> Path:
        return self.folder / f"block_{block:07}.npz"

    def _remove_blocks(self) -> None:
        for file in self.folder.glob("block_*.npz*"):
            file.unlink()


@contextmanager
def hold_job(job: PredictionJob) -> Iterator[None]:
    """Keep other commands from writing the same file.

    A folder without blocks is removed at the end.

    Raises:
        UserError: Another command writes it.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    busy = f"--out: another process predicts into {job.out}; wait until it ends, or choose another name"
    is_ours = False
    try:
        with hold_folder(job.folder, busy):
            is_ours = True
            yield
    finally:
        if is_ours and not job.count_done():
            with suppress(OSError):
                job.remove()
                job.folder.rmdir()


def describe_runs(runs: Sequence[SavedRun]) -> str:
    """SHA-256 of what the networks of runs predict with: hyperparameters, preparation and weights."""
    digest = hashlib.sha256()
    for run in runs:
        digest.update(json.dumps(dict(run.model.hparams), default=str, sort_keys=True).encode())
        for name, tensor in run.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
