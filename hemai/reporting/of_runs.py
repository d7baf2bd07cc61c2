"""What a report tells of the runs themselves: data, settings, curves, limits, how to repeat them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from hemai.data import CellDataset
from hemai.evaluation.finished import Finished, all_shared
from hemai.evaluation.terminal import number
from hemai.evaluation.together import spread
from hemai.figures import CURVES, draw_curve
from hemai.reporting.blocks import Picture, Section, Table

CITE = "hemai {version}, MIT licence; name version and seed with every figure."
LIMITS = (
    "The figures hold for images made as these were: the same stain, microscope, camera and preparation, and the same "
    "share of classes. A test on another hospital's images (hemai evaluate RUN data=...) is worth more.",
    "An interval tells of the luck of who was tested, not of the luck of training, nor of a choice made after looking "
    "at the test images.",
    "Research software, not a medical device: not for diagnosis, not for treatment.",
)


def tell_training(runs: Sequence[Finished]) -> list[Section]:
    """What was trained on what, and how the figures moved; nothing of a checkpoint without its run."""
    of_run = [run for run in runs if run.config is not None]
    if not of_run:
        return []
    run = of_run[0]
    tables = [_splits(run)] if len(runs) == 1 else [_folds(of_run)]
    told = [leakage_sentence(of_run)]
    sections = [Section("What was trained on what", told, [*tables, _settings(run)])]
    if len(runs) == 1 and (metrics := run.file("metrics.csv")):
        sections.append(Section("Training", pictures=_curves(metrics, run.best_epoch)))
    return sections


def leakage_sentence(runs: Sequence[Finished]) -> str:
    """Whether runs were tested on groups that they had been trained on."""
    kind = runs[0].facts["group_kind"]
    shared = all_shared(run.shared_groups() for run in runs)
    if shared is None:
        return f"WARNING, leakage: nobody knows which {kind}s it was trained on; the checkpoint lies outside its run."
    if shared:
        return f"WARNING, leakage: {len(shared):,} {kind}s of its own test stand in training or validation too."
    return f"Leakage: no {kind} of its own test stands in training or validation."


def _splits(run: Finished) -> Table:
    splits, kind = run.splits(), run.facts["group_kind"]
    labels = [label for label in run.model.classes if label in set(splits["label"])]
    rows = []
    for split in dict.fromkeys(("train", "val", "test", *splits["split"])):
        part = splits[splits["split"] == split]
        parts = [*(part[part["label"] == label] for label in labels), part]
        if len(part):
            rows.append((split, *(f"{len(of):,} / {of['group'].nunique():,}" for of in parts)))
    return Table(pd.DataFrame(rows, columns=["split", *labels, "together"]), f"images / {kind}s")


def _folds(runs: Sequence[Finished]) -> Table:
    rows = []
    for run in runs:
        splits = run.splits()
        parts = [splits[splits["split"] == split] for split in ("train", "val", "test")]
        tested = run.tested().figures() if run.is_tested else {}
        figures = (number(tested.get(name, math.nan)) for name in ("accuracy", "auroc"))
        rows.append((run.place.name, *(f"{len(part):,} / {part['group'].nunique():,}" for part in parts), *figures))
    if all(run.is_tested for run in runs):
        over = {name: math.nan if value is None else value for name, value in spread(runs).items()}
        for kind in ("mean", "sd"):
            figures = (number(over[f"runs/{name}/{kind}"]) for name in ("accuracy", "auroc"))
            rows.append((f"{kind} over runs", "", "", "", *figures))
    columns = ["run", "train", "val", "test", "test accuracy", "test auroc"]
    return Table(pd.DataFrame(rows, columns=columns), f"images / {runs[0].facts['group_kind']}s")


def _settings(run: Finished) -> Table:
    config: Any = OmegaConf.to_container(run.config) if run.config is not None else {}
    hparams, facts = run.model.hparams, run.facts
    start = facts.get("start") or ("published weights" if facts.get("pretrained") else "random weights")
    rows = [
        ("network", f"{hparams['backbone']}, {sum(p.numel() for p in run.model.backbone.parameters()):,} parameters"),
        ("started from", start),
        ("input", f"{hparams['image_size']} x {hparams['image_size']} px, RGB"),
        ("prepared by", ", ".join(_steps(facts["prepare"])) or "nothing"),
        ("augmented by", ", ".join(_names(config.get("transform", {}).get("augment"))) or "nothing"),
        (
            "optimizer",
            ", ".join(f"{name} {value}" for name, value in hparams["optimizer"].items() if value is not None),
        ),
        ("epochs", f"{config['trainer']['max_epochs']}, the best by {config['monitor'] or 'none: the last'}"),
        ("batch", f"{config['data']['batch_size']} images"),
        ("seed", config["seed"]),
        ("split", f"{facts['split']} (fingerprint {facts['split_hash']})"),
    ]
    return Table(pd.DataFrame([(name, str(value)) for name, value in rows], columns=["setting", "value"]), is_text=True)


def _steps(prepare: dict[str, Any]) -> list[str]:
    return [step["__class_fullname__"].split(".")[-1] for step in prepare["transform"]["transforms"]]


def _names(steps: Any) -> list[str]:
    values = steps.values() if isinstance(steps, dict) else steps or []
    return [str(step["_target_"]).split(".")[-1] for step in values if isinstance(step, dict) and "_target_" in step]


def _curves(metrics: Path, best_epoch: int) -> list[Picture]:
    rows = pd.read_csv(metrics).to_dict("records")
    kept = [{str(name): value for name, value in row.items() if value == value} for row in rows]
    pictures = []
    for metric, says in zip(
        CURVES,
        (
            "the curves part, the network learns its training images by heart",
            "it stops rising, more epochs are of no use",
        ),
        strict=True,
    ):
        figure = Figure(figsize=(4.8, 3.6), layout="constrained", dpi=120)
        draw_curve(figure.subplots(), kept, metric, best_epoch)
        pictures.append(Picture(f"curve_{metric}", figure, f"{metric.capitalize()} by epoch. Where {says}."))
    return pictures


def tell_limits(runs: Sequence[Finished], dataset: CellDataset | None, missing: str, is_own_test: bool) -> Section:
    """What the figures cannot say, and whom to cite."""
    told = list(LIMITS)
    if missing:
        without = "pictures of mistakes and shortcut audit" if is_own_test else "shortcut audit"
        told.append(f"Without {without}, as the images of the run could not be opened: {missing}.")
    if dataset is not None:
        told.append(f"Images: {dataset.citation.rstrip('.')}. Licence: {dataset.license}.")
    told.append("Software: " + CITE.format(version=runs[0].facts.get("versions", {}).get("hemai", "unknown")))
    return Section("Limits, and how to cite", told)


def tell_repeat(runs: Sequence[Finished]) -> Section:
    """Commands and versions."""
    versions = runs[0].facts.get("versions", {})
    told = "Trained with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    commands = [run.command for run in runs if run.command]
    return Section("To repeat it", [told] if versions else [], code="\n".join(commands))
