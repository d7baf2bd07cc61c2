"""Quantize an ONNX file to 8-bit integers, and measure what that costs and gains."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from hemai.evaluation.metrics import compute_metrics
from hemai.export.onnx_file import INPUT, onnx_outputs, start_session
from hemai.export.quiet import quiet
from hemai.export.sample import Sample, images_of
from hemai.models.classifier import CellClassifier
from hemai.utils.errors import UserError

CALIBRATION = 128  # images that set the ranges of the activations
PAIRS, BATCH = 7, 16  # of the measurement of speed
QUANTIZED = ["Conv", "Gemm", "MatMul"]  # what takes the time; the rest stays float32


@dataclass(frozen=True)
class Int8Cost:
    """What 8-bit integers change, measured against the float32 file.

    Attributes:
        auroc: AUROC in float32 and in int8; None without labelled images, or without malignant classes.
        measured_on: Images of the AUROC and of the difference, in words.
        difference: Largest difference of a probability.
        speedup: Images a second in int8 over those in float32 on this CPU, median of interleaved pairs.
        calibrated_on: Images that set the ranges, in words.
    """

    auroc: tuple[float, float] | None
    measured_on: str
    difference: float
    speedup: float
    calibrated_on: str

    def __str__(self) -> str:
        auroc = "not measured, for want of labelled images"
        if self.auroc is not None:
            before, after = self.auroc
            auroc = f"{after:.4f}, {before:.4f} in float32 ({after - before:+.4f})"
        return (
            f"int8: ranges from {self.calibrated_on}; AUROC {auroc}; probabilities differ by up to "
            f"{self.difference:.2g} ({self.measured_on}); {self.speedup:.2f} times the speed of float32 on this CPU."
        )


def quantize(content: bytes, sample: Sample) -> tuple[bytes, str]:
    """Quantize weights and activations of convolutions and matrices to 8 bits.

    Static, not dynamic: onnxruntime has dynamic kernels for matrices only, so that the convolutions of these networks
    would get slower; static ranges need images, and those of the training are at hand. The last layer stays float32:
    its 256 levels would tie the probabilities of many images, which costs AUROC.

    Args:
        content: Content of the float32 file.
        sample: Images of the run.

    Returns:
        Content of the int8 file, and the images that set its ranges, in words.

    Raises:
        UserError: Only random images: ranges from them would be wrong.
    """
    if sample.data is not None and "train" in sample.data.rows:
        images, origin = images_of(sample.data, "train", CALIBRATION)[0], "training images of the run"
    elif sample.is_real:
        images, origin = sample.images, "images of --images"
    else:
        raise UserError(f"--int8 needs real images to set its ranges, found only {sample.origin}")
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared, target = (Path(folder, name) for name in ("float32.onnx", "prepared.onnx", "int8.onnx"))
        source.write_bytes(content)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        layers = [node.name for node in onnx.load(prepared).graph.node if node.op_type in QUANTIZED]
        quantize_static(
            prepared,
            target,
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=layers[-1:],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        model = onnx.load(target)
        props = {prop.key: prop.value for prop in onnx.load_from_string(content).metadata_props}
        onnx.helper.set_model_props(model, props | {"precision": "int8"})
        return model.SerializeToString(), f"{len(images):,} {origin}"


class _Reader(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self.batches = iter([images[start : start + BATCH] for start in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def measure_int8(content: bytes, quantized: bytes, model: CellClassifier, sample: Sample, calibrated: str) -> Int8Cost:
    """Compare an int8 file with its float32 original, on all test images of the run, else on its validation images."""
    images, targets, origin = sample.images, None, sample.origin
    if sample.data is not None and (splits := [split for split in ("test", "val") if split in sample.data.rows]):
        images, targets = images_of(sample.data, splits[0])
        origin = f"{len(images):,} {splits[0]} images"
    sessions = [start_session(each) for each in (content, quantized)]
    results = [onnx_outputs(session, images) for session in sessions]
    auroc = None
    if targets is not None and model.positive:
        values = [
            compute_metrics(torch.from_numpy(logits), torch.from_numpy(targets), model.classes, model.positive)["auroc"]
            for logits, _ in results
        ]
        auroc = (values[0], values[1])
    batch, ratios = np.resize(images, (BATCH, *images.shape[1:])), []
    for _ in range(PAIRS):
        seconds = []
        for session in sessions:
            start = time.perf_counter()
            onnx_outputs(session, batch)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    difference = float(np.abs(results[0][1] - results[1][1]).max())
    return Int8Cost(auroc, origin, difference, statistics.median(ratios), calibrated)
