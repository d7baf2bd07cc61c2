"""Logits of batches of images, on the accelerator or on all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule

from hemai.utils.device import find_device
from hemai.utils.errors import UserError

MAX_FORWARDS = 16  # batches in the network at once on a CPU, each with activations of its own


def compute_logits(models: Sequence[LightningModule], batches: Iterable[torch.Tensor]) -> list[np.ndarray]:
    """Compute logits in eval mode and float32, on the accelerator if one is available.

    Args:
        models: Classifiers; they are moved to the accelerator.
        batches: Batches of images, uint8 RGB, (B, 3, height, width); at least one.

    Returns:
        Logits of each network, float64, (N, classes).

    Raises:
        UserError: Images of a size that a network cannot take, or logits that are not finite.
    """
    parts = list(stream_logits(models, batches))
    return [np.concatenate(of_model) for of_model in zip(*parts, strict=True)]


def stream_logits(models: Sequence[LightningModule], batches: Iterable[torch.Tensor]) -> Iterator[list[np.ndarray]]:
    """Compute logits as `compute_logits`, and yield those of each batch, an array for each network, in turn.

    On a CPU several batches are computed at once, each in one thread. That is two to three times as fast as all threads
    for one batch while other threads decode images, and the result does not depend on the number of threads up to 16.
    """
    device: Any = find_device()
    models = [model.float().eval().to(device) for model in models]

    def work(batch: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            images = batch.to(device)
            logits = [_forward(model, images).cpu().double().numpy() for model in models]
        for values in logits:
            if (wrong := ~np.isfinite(values).all(axis=1)).any():
                raise UserError(f"the logits of {wrong.sum()} images are not finite; is the checkpoint damaged?")
        return logits

    if device.type != "cpu":
        yield from map(work, batches)
        return
    threads = torch.get_num_threads()
    workers = min(threads, MAX_FORWARDS)
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        pending: deque[Future[list[np.ndarray]]] = deque()
        for batch in batches:
            pending.append(pool.submit(work, batch))
            if len(pending) > 2 * workers:  # memory must not grow with the number of images
                yield pending.popleft().result()
        for future in pending:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the threads of the pool set that of the process


def _forward(model: LightningModule, images: torch.Tensor) -> torch.Tensor:
    try:
        logits: torch.Tensor = model(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = images.shape[2:]
        raise UserError(
            f"{model.hparams['backbone']} fails on images of {width} x {height} px ({error}); if its "
            "transform.prepare has no Resize, give it images of the size that it was trained on"
        ) from error
    return logits
