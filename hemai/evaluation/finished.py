"""Finished runs: their networks, alone or together, and what they said of their test images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from hemai.build import build_data
from hemai.classifier import CellClassifier
from hemai.config import unquote
from hemai.data import CellDataModule, CellDataset
from hemai.errors import UserError
from hemai.evaluation.predictions import Predictions, read_predictions
from hemai.models.weights import read_torch_file
from hemai.runs import OPERATING_POINT, Run


@dataclass(frozen=True)
class Finished:
    """A run, or a checkpoint without its run.

    Attributes:
        place: Its folder, or the file.
    """

    place: Path

    @property
    def folder(self) -> Path:
        """Of the run, also of a checkpoint that still lies in it."""
        return self.place if self.place.is_dir() else self.place.absolute().parent.parent

    @property
    def checkpoint(self) -> Path:
        """The file."""
        return Run(self.place).best if self.place.is_dir() else self.place

    @cached_property
    def _content(self) -> dict[str, Any]:
        if not self.checkpoint.is_file():
            raise UserError(
                f"no checkpoint at {self.checkpoint}; expected the folder of a finished run, or a .ckpt file"
            )
        content = read_torch_file(self.checkpoint, "RUN")
        facts = content.get("hyper_parameters", {}).get("facts") if isinstance(content, dict) else None
        if not facts or not {"data", "group_kind", "prepare"} <= facts.keys():
            raise UserError(f"{self.checkpoint} is no checkpoint of a run of hemai")
        return content

    @cached_property
    def model(self) -> CellClassifier:
        """In evaluation mode.

        Raises:
            UserError: No checkpoint, or none of hemai.
        """
        model = CellClassifier(**self._content["hyper_parameters"])
        model.load_state_dict(self._content["state_dict"])
        return model.eval()

    @property
    def best_epoch(self) -> int:
        """Of the checkpoint, counted from 1."""
        return int(self._content["epoch"]) + 1

    @property
    def facts(self) -> dict[str, Any]:
        """What the checkpoint tells of its making."""
        return self.model.hparams["facts"]

    @property
    def is_tested(self) -> bool:
        """Whether it has predictions of test images."""
        return (self.place / "predictions_test.csv").is_file()

    def tested(self) -> Predictions:
        """Predictions of the run's own test images, with its operating point.

        Raises:
            UserError: There are none, or they do not fit the checkpoint.
        """
        if not self.is_tested:
            raise UserError(f"{self.place} has no test predictions; name images with data=... data.root=...")
        file = self.place / "predictions_test.csv"
        point: dict[str, Any] = {name: self.facts.get(name) for name in OPERATING_POINT}
        return replace(read_predictions(file, self.model.classes, self.model.positive), **point)

    @cached_property
    def config(self) -> DictConfig | None:
        """Its configuration; None for a checkpoint without its run."""
        file = self.folder / ".hydra" / "config.yaml"
        return cast(DictConfig, OmegaConf.load(file)) if file.is_file() else None

    @cached_property
    def command(self) -> str:
        """That repeats it; empty for a checkpoint without its run."""
        file = self.folder / ".hydra" / "overrides.yaml"
        overrides = [str(word) for word in OmegaConf.load(file)] if file.is_file() else None
        if overrides is None:
            return ""
        kept = (override for override in overrides if not override.startswith(("run_dir=", "resume=")))
        return shlex.join(["python", "train.py", *map(unquote, kept)])

    @cached_property
    def dataset(self) -> type[CellDataset] | None:
        """The class of its data set, which knows licence and citation."""
        if self.config is None:
            return None
        found: type[CellDataset] = get_class(self.config.data.dataset)
        return found

    def data(self) -> CellDataModule:
        """Its images, if they still lie where it found them.

        Raises:
            UserError: They do not, or changed since.
        """
        if self.config is None:
            raise UserError(f"{self.place} is a checkpoint without its run")
        data = build_data(self.config)
        data.setup()
        if data.split_hash() != self.facts["split_hash"]:
            raise UserError(f"the images under {data.dataset.root} or their split changed since the run")
        return data

    def splits(self) -> pd.DataFrame:
        """Its `splits.csv`; empty for a checkpoint without its run."""
        file = self.folder / "splits.csv"
        if not file.is_file():
            return pd.DataFrame(columns=["path", "label", "group", "split"], dtype=str)
        return pd.read_csv(file, dtype=str, keep_default_na=False)

    def trained_groups(self) -> set[str]:
        """Groups that it was trained or validated on."""
        splits = self.splits()
        return set(splits["group"][splits["split"].isin(("train", "val"))])

    def shared_groups(self) -> set[str]:
        """Groups that it was tested on after it had been trained or validated on them."""
        splits = self.splits()
        return self.trained_groups() & set(splits["group"][splits["split"] == "test"])


def find_finished(places: Sequence[Path]) -> list[Finished]:
    """Runs and checkpoints, also those in folders above them, such as that of a cross-validation.

    Raises:
        UserError: Nothing there, or networks with other classes or other prepared images.
    """
    found: list[Finished] = []
    for place in places:
        below = sorted(file.parent.parent for file in place.rglob("checkpoints/best.ckpt")) if place.is_dir() else []
        found += [Finished(place)] if Run(place).best.is_file() or not below else map(Finished, below)
    for run in found:
        for what, ours, first in (
            ("classes", run.model.classes, found[0].model.classes),
            ("malignant classes", run.model.positive, found[0].model.positive),
            ("transform.prepare", run.facts["prepare"], found[0].facts["prepare"]),
        ):
            if ours != first:
                raise UserError(f"{run.place} and {found[0].place} differ in {what}; evaluate them one by one")
    return found
