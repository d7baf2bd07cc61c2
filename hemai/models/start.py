"""What a classifier starts from: a network, its initial weights, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hemai.models.network import create_network, expected_normalization, with_image_size
from hemai.models.source import PublishedModel, is_source, read_source, weights_file
from hemai.models.weights import load_weights
from hemai.utils.errors import UserError, did_you_mean

SOURCE = ("licence", "citation", "images")  # what a config says of the published weights of its network


@dataclass(frozen=True)
class Start:
    """A network with its initial weights, and what builds it again without hub, folder or file.

    Attributes:
        network: The network.
        backbone: Its name in timm, or a dotted name of the user's.
        options: Its further arguments.
        mean, sd: Of the pixels (0..1) that it expects.
        metadata: `weights` and `pretrained`, as set; where the weights come from, if anywhere: `start`, a sentence,
            and `source`, their `licence`, `citation` and training `images`, as far as known.
    """

    network: nn.Module
    backbone: str
    options: dict[str, Any]
    mean: list[float]
    sd: list[float]
    metadata: dict[str, Any]


def create_start(
    backbone: str,
    classes: int,
    image_size: int,
    pretrained: bool = False,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    mean: Sequence[float] | None = None,
    sd: Sequence[float] | None = None,
    source: Mapping[str, str] | None = None,
) -> Start:
    """Create a network with its initial weights; see `hemai.models.classifier.CellClassifier` for the arguments.

    Raises:
        UserError: Unknown network, or weights that cannot be found or do not fit it.
    """
    if unknown := [str(key) for key in source or {} if key not in SOURCE]:
        hint = did_you_mean(unknown[0], SOURCE)
        raise UserError(f"model.source.{unknown[0]} is unknown{hint} (expected {', '.join(SOURCE)})")
    model = read_source(backbone) if is_source(backbone) else PublishedModel(backbone, {}, {})
    weights_of = weights or (backbone if pretrained and is_source(backbone) else None)
    # Built by its plain name, as from the checkpoint later.
    of_model = {key: value for key, value in model.options.items() if key != "img_size"}
    chosen = with_image_size(model.architecture, {**of_model, **(options or {})}, image_size)
    if "img_size" in model.options:  # also of a network without a published size
        chosen.setdefault("img_size", image_size)
    network = create_network(model.architecture, classes, pretrained and not weights_of, chosen)
    facts = {**getattr(network, "pretrained_cfg", {}), **model.facts}
    mean = facts.get("mean") if mean is None else mean
    sd = facts.get("std") if sd is None else sd
    mean, sd = expected_normalization(network, mean, sd)
    metadata: dict[str, Any] = {"weights": weights, "pretrained": pretrained}
    if is_source(backbone):
        metadata["origin"] = backbone
    if weights_of:
        report = load_weights(network, weights_file(weights_of, "model.weights" if weights else "model.backbone"))
        metadata["start"] = str(replace(report, file=weights_of))
    elif pretrained:
        metadata["start"] = _published(facts, chosen.get("img_size"))
    if weights_of or pretrained:
        known = {} if weights else {"licence": facts.get("license")}  # that of a file is the user's to say
        told = {key: str(value) for key, value in {**known, **(source or {})}.items() if value}
        metadata |= {"source": told} if told else {}
    return Start(network, model.architecture, chosen, mean, sd, metadata)


def _published(facts: Mapping[str, Any], size: int | None) -> str:
    name = ".".join(part for part in (facts.get("architecture"), facts.get("tag")) if part)
    published = facts["input_size"][-1]
    resized = f"; resized to the network: position embeddings, made for {published} px" if size != published else ""
    return f"published weights of timm, {name}" + resized * bool(size)
