"""ONNX files: the network, and what a program needs to know of it, in one file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401  torch writes ONNX through it: fail before the work if it is missing
import torch

import hemai
from hemai.export.plain_network import PlainNetwork, example
from hemai.export.quiet import quiet
from hemai.runs.saved_run import SavedRun

INPUT, OUTPUTS = "images", ("logits", "probabilities")


def onnx_metadata(run: SavedRun, images: np.ndarray) -> dict[str, str]:
    """What a program must know to use the file; the values are JSON, or plain text.

    Args:
        run: The run.
        images: Images as the network takes them, (N, height, width, 3).
    """
    metadata, model = run.metadata, run.model
    values: dict[str, Any] = {
        "input": "uint8 RGB, 0..255, (batch, height, width, 3)",
        "image_size": list(images.shape[1:3]),
        "classes": model.classes,
        "positive": model.positive,
        "threshold": metadata.get("threshold"),
        "temperature": metadata.get("temperature"),
        "prepare": metadata["prepare"]["transform"]["transforms"],
        "network": model.hparams["backbone"],
        "trained_on": metadata["data"],
        "hemai_version": hemai.__version__,
        "use": "research use only, not a medical device",
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def onnx_content(network: PlainNetwork, images: np.ndarray, metadata: dict[str, str]) -> bytes:
    """Content of an ONNX file with input `images`, uint8 (batch, height, width, 3), any batch, and both outputs.

    Args:
        network: The network.
        images: Images of the size that the file will take.
        metadata: Names and values of `metadata_props`.
    """
    with quiet():
        program = torch.onnx.export(
            network,
            (example(images),),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: "batch"},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # lines of source code, with paths of this machine
    onnx.helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


def start_session(content: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """Session of onnxruntime on the CPU; 0 threads: as many as it chooses."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_outputs(session: onnxruntime.InferenceSession, images: np.ndarray, batch: int = 32) -> list[np.ndarray]:
    """Logits and probabilities, float32 (N, classes), of RGB images, uint8 (N, height, width, 3)."""
    starts = range(0, len(images), batch)
    parts = [session.run(list(OUTPUTS), {INPUT: images[start : start + batch]}) for start in starts]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
