"""Export a run, and compare it with the original before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hemai.export.folder import write_folder
from hemai.export.outputs import check_file, check_folder, replace_folder
from hemai.export.plain_network import PlainNetwork
from hemai.export.sample import Sample, sample_images
from hemai.export.torch_files import (
    program_content,
    program_probabilities,
    state_dict_content,
    state_dict_probabilities,
)
from hemai.runs.ensemble import find_saved_runs
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import UserError, did_you_mean, one_line
from hemai.utils.files import output_errors, replace_file
from hemai.utils.terminal import say

SUFFIXES = {"onnx": (".onnx",), "torch": (".pt2",), "state_dict": (".pth", ".pt"), "safetensors": ()}
LARGEST = 1e-4  # difference of a probability from that of the run


def check_arguments(kind: str, out: Path, int8: bool, overwrite: bool) -> None:
    """Refuse what cannot be exported, before the work.

    Raises:
        UserError: An unknown format, or an `out` that is of another kind, exists or cannot be written.
    """
    if kind not in SUFFIXES:
        raise UserError(f"--format={kind}{did_you_mean(kind, SUFFIXES)} (expected {', '.join(SUFFIXES)})")
    if int8 and kind != "onnx":
        raise UserError(f"--int8 applies only to --format onnx, not to {kind}; remove it")
    if kind == "onnx":
        _check_extra()
    if kind == "safetensors":
        check_folder(out, overwrite)
    else:
        check_file(out, SUFFIXES[kind], overwrite)


def _check_extra() -> None:
    try:
        import hemai.export.onnx_file  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx needs further packages ({error}): pip install 'hemai[export]'") from error


def find_run(path: Path, trust: bool = False) -> SavedRun:
    """Find the one run that is exported.

    Raises:
        UserError: No run, or several.
    """
    runs = find_saved_runs([path], trust)
    if len(runs) > 1:
        raise UserError(f"{path} holds {len(runs):,} runs; an ensemble is not exported, name one of its runs")
    return runs[0]


def export_run(
    run: SavedRun, kind: str, out: Path, images: Sequence[str] = (), int8: bool = False, card: str = ""
) -> None:
    """Export a run, and print what was written, its size, and the largest difference of a probability.

    Args:
        run: The run.
        kind: "onnx", "torch", "state_dict" or "safetensors".
        out: File, or folder for "safetensors"; see `check_arguments`.
        images: Paths of images to compare on; empty: those of the run, else random ones.
        int8: Whether to write 8-bit integers, see `hemai.export.int8`.
        card: Text of the model card for "safetensors".

    Raises:
        UserError: The network cannot be exported, or its probabilities differ by `LARGEST` or more. Nothing is written.
    """
    sample = sample_images(run, images)
    with output_errors(out):
        if kind == "safetensors":
            size, sentence = _write_folder(run, out, sample, card)
        else:
            content, sentence = _content(run, kind, sample, int8)
            with replace_file(out) as file:
                file.write(content)
            size = len(content)
    print(f"written: {out} ({size / 1e6:,.1f} MB)")
    say(sentence)


def _write_folder(run: SavedRun, out: Path, sample: Sample, card: str) -> tuple[int, str]:
    """Write a folder, read it back and compare; its size in bytes, and the sentence on the difference."""
    with replace_folder(out) as part:
        write_folder(run, part, card)
        probabilities = PlainNetwork(SavedRun(part, run.trust).model).probabilities(sample.images)
        sentence = _compare(probabilities, run, sample)
        return sum(file.stat().st_size for file in part.iterdir()), sentence


def _content(run: SavedRun, kind: str, sample: Sample, int8: bool) -> tuple[bytes, str]:
    """Content of a file, compared with the run, and the sentence on the difference."""
    network, images = PlainNetwork(run.model).eval(), sample.images
    try:
        if kind == "onnx":
            return _onnx_content(run, network, sample, int8)
        if kind == "torch":
            content = program_content(network, images)
            return content, _compare(program_probabilities(content, images), run, sample)
        content = state_dict_content(run.model)
        return content, _compare(state_dict_probabilities(content, run.model, images), run, sample)
    except UserError:
        raise
    except Exception as error:  # of any kind: exporters fail in many ways
        name = run.model.hparams["backbone"]
        raise UserError(f"{name} cannot be exported as {kind} ({one_line(error)}); try another --format") from error


def _onnx_content(run: SavedRun, network: PlainNetwork, sample: Sample, int8: bool) -> tuple[bytes, str]:
    from hemai.export.int8 import measure_int8, quantize
    from hemai.export.onnx_file import onnx_content, onnx_metadata, onnx_outputs, start_session

    content = onnx_content(network, sample.images, onnx_metadata(run, sample.images))
    _, probabilities = onnx_outputs(start_session(content), sample.images, batch=len(sample.images))
    sentence = _compare(probabilities, run, sample)
    if not int8:
        return content, sentence
    quantized, calibrated_on = quantize(content, sample)
    return quantized, str(measure_int8(content, quantized, run.model, sample, calibrated_on))


def _compare(probabilities: np.ndarray, run: SavedRun, sample: Sample) -> str:
    """Sentence on the largest difference of a probability from that of the run.

    Raises:
        UserError: It is `LARGEST` or more.
    """
    with torch.inference_mode():
        logits = run.model(torch.from_numpy(sample.images).permute(0, 3, 1, 2))
    difference = float(np.abs(probabilities - logits.softmax(dim=1).numpy()).max())
    if not difference < LARGEST:
        raise UserError(
            f"the exported network differs by up to {difference:.2g} in a probability from the run on {sample.origin}, "
            f"expected less than {LARGEST:g}; nothing is written. Please report the network and the versions"
        )
    return f"Largest difference of a probability from that of the run: {difference:.1g}, on {sample.origin}."
