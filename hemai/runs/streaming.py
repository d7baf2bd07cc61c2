"""Predict any number of images into a file: constant memory, several processes, and a killed command goes on.

Images are predicted in blocks, and each is stored when it is done; see `hemai.runs.prediction_job`. Process r of n
takes every n-th block, from block r on. At the end the first process writes the tables from the blocks, in the order of
the images.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hemai.data.image_list import ImageList
from hemai.data.images import Prepared, prepare_images, prepared_shape
from hemai.evaluation.operating_point import OperatingPoint
from hemai.evaluation.prevalence import PriorShift
from hemai.runs.inference import BATCH, as_batch
from hemai.runs.logits import stream_logits
from hemai.runs.prediction_job import BLOCK, PredictionJob, describe_runs, hold_job
from hemai.runs.prediction_output import PredictionSummary, groups_file, write_predictions
from hemai.runs.processes import Processes
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError
from hemai.utils.files import check_writable, output_errors
from hemai.utils.table_files import check_table_file
from hemai.utils.terminal import track


def stream_predictions(
    runs: Sequence[SavedRun],
    images: ImageList,
    out: Path,
    processes: Processes,
    shift: PriorShift | None = None,
    point: OperatingPoint | None = None,
    overwrite: bool = False,
) -> PredictionSummary | None:
    """Predict images and write the table, and a second one of the groups, if there are any.

    Unreadable images do not stop it. Probabilities are those of `hemai.runs.inference.predict_images`.

    Args:
        runs: One run, or those of an ensemble, with one prepare list.
        images: What to predict.
        out: File for the table, .csv, .parquet or .xlsx; see `write_predictions`.
        processes: The processes that share the work.
        shift: Adjustment to a stated prevalence.
        point: Operating point of an ensemble.
        overwrite: Whether `out` may exist; also removes what this or another command began.

    Returns:
        What was predicted; None except in the first process.

    Raises:
        UserError: A file that exists or cannot be written, an unfinished prediction of another command, or a process
            that died.
    """
    job = PredictionJob(out, len(images))
    if processes.rank:
        processes.wait_for_all()
        job.check_key(_key(runs, images, shift))
        _predict_blocks(job, runs, images, processes)
        processes.wait_for_all()
        return None
    _check_output(job, images, overwrite)
    with output_errors(out), hold_job(job):
        job.start(_key(runs, images, shift), overwrite)
        processes.wait_for_all()
        try:
            _predict_blocks(job, runs, images, processes)
            processes.wait_for_all()
            job.writing.touch()
            summary = write_predictions(job, runs, images, shift, point)
        except BaseException:
            if done := job.count_done():
                how = "repeat the command" + overwrite * ", without --overwrite,"
                print(f"{done:,} of {job.count:,} images are predicted: {how} to go on", file=sys.stderr)
            raise
        job.remove()
    return summary


def _check_output(job: PredictionJob, images: ImageList, overwrite: bool) -> None:
    check_writable(job.folder)
    check_table_file(job.out, len(images))
    for file in [job.out] if images.groups is None else [job.out, groups_file(job.out)]:
        if file.is_dir() or (file.exists() and not overwrite and not job.writing.exists()):
            raise UserError(f"--out: {file} already exists; choose another name, or add --overwrite")


def _key(runs: Sequence[SavedRun], images: ImageList, shift: PriorShift | None) -> dict[str, object]:
    """What the result depends on; a command goes on only with what has the same."""
    options = {"block": BLOCK, "batch": BATCH, "prevalence": None if shift is None else shift.stated}
    return {"run": describe_runs(runs), "images": images.digest(), "options": options}


def _predict_blocks(job: PredictionJob, runs: Sequence[SavedRun], images: ImageList, processes: Processes) -> None:
    """Predict and store the blocks of this process that are missing."""
    own = job.blocks[processes.rank :: processes.world_size]
    blocks = sorted(set(job.missing()) & set(own))
    if not blocks:
        return
    total, prepare = sum(len(job.rows(block)) for block in own), runs[0].metadata["prepare"]
    files = [images.files[row] for block in blocks for row in job.rows(block)]
    prepared = prepare_images(files, prepare, prepared_shape(images.files, prepare), checksum=False)
    title = f"predicting {total:,} images"
    if len(files) < total:
        title += f", {total - len(files):,} of them before"
    if processes.world_size > 1:
        title = f"process {processes.rank} of {processes.world_size}: {title}"
    tracked = track(prepared, title, total, total - len(files))
    errors: list[str] = []
    logits = stream_logits([run.model for run in runs], _batches(tracked, errors))
    for block in blocks:
        size = len(job.rows(block))
        parts = list(islice(logits, -(-size // BATCH)))  # batches are in flight, so `errors` may hold more
        with output_errors(job.out):
            job.save(block, np.concatenate(parts, axis=1), errors[:size])
        del errors[:size]


def _batches(prepared: Iterable[Prepared], errors: list[str]) -> Iterator[torch.Tensor]:
    """Batches of images; their errors are appended to `errors`. An unreadable image is black, so no other moves."""
    images = iter(prepared)
    while batch := list(islice(images, BATCH)):
        errors += [each.error for each in batch]
        yield as_batch([each.image for each in batch])
