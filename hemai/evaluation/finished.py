"""Finished runs: their networks, alone or together, and what they said of their test images."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig

from hemai.build import build_data
from hemai.classifier import CellClassifier
from hemai.config import unquote
from hemai.data import CellDataModule, CellDataset
from hemai.data.splits import split_hash
from hemai.errors import UserError, some
from hemai.evaluation.predictions import Predictions, read_predictions
from hemai.models.weights import read_torch_file
from hemai.runs import OPERATING_POINT, Run
from hemai.saved import as_config, read_overrides, read_settings
from hemai.trust import check_names, check_prepare

RUN_FILES = (".hydra/config.yaml", "checkpoints/best.ckpt")  # a run has one of them, below its folder
COLUMNS = ["path", "label", "group", "split"]


@dataclass(frozen=True)
class Finished:
    """A run, or a checkpoint without its run.

    Attributes:
        place: Its folder, or the file.
        trust: Run code that they name, even if it is not on the allowlist of `hemai.trust`.
    """

    place: Path
    trust: bool = False

    @cached_property
    def folder(self) -> Path | None:
        """Of the run, also of a checkpoint that still lies in it; None for a checkpoint without its run."""
        if self.place.is_dir():
            return self.place
        above = self.place.absolute().parent.parent
        if not (above / "splits.csv").is_file():
            return None
        splits = _read_splits(above)
        return above if split_hash(splits, splits["split"]) == self.facts.get("split_hash") else None

    @property
    def checkpoint(self) -> Path:
        """The file."""
        return Run(self.place).best if self.place.is_dir() else self.place

    @cached_property
    def _content(self) -> dict[str, Any]:
        if not self.checkpoint.is_file():
            raise UserError(f"no checkpoint at {self.checkpoint}; expected the folder of a finished run, or a .ckpt")
        content = read_torch_file(self.checkpoint, "RUN")
        facts = content.get("hyper_parameters", {}).get("facts") if isinstance(content, dict) else None
        if not isinstance(facts, dict) or not {"data", "group_kind", "prepare"} <= facts.keys():
            raise UserError(f"{self.checkpoint} is no checkpoint of a run of hemai")
        if not self.trust:
            check_names(content["hyper_parameters"], self.checkpoint)
            _ = self.place.is_dir() and self.config  # a folder that names strange code is refused as a whole
        check_prepare(facts["prepare"], self.checkpoint, self.trust)
        return content

    @cached_property
    def model(self) -> CellClassifier:
        """In evaluation mode.

        Raises:
            UserError: No checkpoint, or none of hemai.
        """
        settings = self._content["hyper_parameters"] | {"weights": None, "pretrained": False}  # it holds its own
        try:
            model = CellClassifier(**settings)
            model.load_state_dict(self._content["state_dict"])
        except (TypeError, RuntimeError, KeyError) as error:
            raise UserError(f"{self.checkpoint} does not fit its own settings ({error}); fetch it again") from error
        return model.eval()

    @property
    def best_epoch(self) -> int:
        """Of the checkpoint, counted from 1."""
        return int(self._content["epoch"]) + 1

    @property
    def facts(self) -> dict[str, Any]:
        """What the checkpoint tells of its making."""
        return self.model.hparams["facts"]

    def file(self, name: str) -> Path | None:
        """A file of the run, if it is there."""
        found = None if self.folder is None else self.folder / name
        return found if found is not None and found.is_file() else None

    @property
    def is_tested(self) -> bool:
        """Whether it has predictions of test images."""
        return self.file("predictions_test.csv") is not None

    def tested(self) -> Predictions:
        """Predictions of the run's own test images, with its operating point.

        Raises:
            UserError: There are none, or they do not fit the checkpoint or `splits.csv`.
        """
        if (file := self.file("predictions_test.csv")) is None:
            raise UserError(
                f"{self.place} has no test predictions; name the folder of a finished run with a test split, or for "
                "hemai evaluate other images with data=... data.root=..."
            )
        predictions = read_predictions(file, self.model.classes, self.model.positive)
        splits, columns = self.splits(), ["path", "label", "group"]
        expected = splits.loc[splits["split"] == "test", columns].sort_values("path", ignore_index=True)
        found = predictions.table[columns].sort_values("path", ignore_index=True)
        if not found.equals(expected):
            raise UserError(
                f"{file}: path, label and group are not those of the {len(expected):,} test images of splits.csv; "
                f"restore the file, or repeat the run: {self.command}"
            )
        point: dict[str, Any] = {name: self.facts.get(name) for name in OPERATING_POINT}
        return replace(predictions, **point)

    @cached_property
    def config(self) -> DictConfig | None:
        """Its configuration, if it names no strange code; None for a checkpoint without its run."""
        if (file := self.file(".hydra/config.yaml")) is None:
            return None
        settings = read_settings(file.parent.parent)
        if not self.trust:
            check_names(settings, file)
        return as_config(settings)

    @cached_property
    def command(self) -> str:
        """That repeats it; empty for a checkpoint without its run."""
        if (file := self.file(".hydra/overrides.yaml")) is None:
            return ""
        return shlex.join(["python", "train.py", *map(unquote, read_overrides(file.parent.parent))])

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
        return pd.DataFrame(columns=COLUMNS, dtype=str) if self.folder is None else _read_splits(self.folder)

    def shared_groups(self, tested: Predictions | None = None, dataset: CellDataset | None = None) -> set[str] | None:
        """Groups that it is tested on after it was trained or validated on them.

        Args:
            tested: Predictions of other images than its own test images, whose groups count by their name if the data
                set is that of the run, and by the files that they share with it.
            dataset: Of these images.

        Returns:
            None if nobody knows, for a checkpoint without its run.
        """
        if self.folder is None:
            return None
        splits = self.splits()
        trained = splits[splits["split"].isin(("train", "val"))]
        groups = set(trained["group"])
        if tested is None or dataset is None:
            return groups & set(splits["group"][splits["split"] == "test"])
        named = set(tested.table["group"]) if dataset.name == self.facts["data"] else set()
        root = self.config.data.root if self.config is not None else None
        files = {str(Path(root) / path) for path in trained["path"]} if root else set()
        again = [str(dataset.root / path) in files for path in tested.table["path"]]
        return (groups & named) | set(tested.table["group"][again])


def _read_splits(folder: Path) -> pd.DataFrame:
    file = folder / "splits.csv"
    try:
        splits = pd.read_csv(file, dtype=str, keep_default_na=False)
        return splits[COLUMNS]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read {file} ({error}); it belongs to every run") from error


def all_shared(shared: Iterable[set[str] | None]) -> list[str] | None:
    """What several runs share, sorted; None if one of them does not know."""
    found = list(shared)
    return None if None in found else sorted(set().union(*(groups for groups in found if groups)))


def find_finished(places: Sequence[Path], trust: bool = False) -> list[Finished]:
    """Runs and checkpoints, also those in folders above them, such as that of a cross-validation; each once.

    Args:
        places: Where they are.
        trust: Run code that they name, even if it is not on the allowlist of `hemai.trust`.

    Raises:
        UserError: Nothing there, a run that is not finished, or networks of other data, classes or prepared images.
    """
    found: dict[Path, Finished] = {}
    for place in places:
        below = {file.parent.parent for pattern in RUN_FILES for file in place.rglob(pattern) if place.is_dir()}
        for one in [place] if place in below or not below else sorted(below):
            found.setdefault(one.resolve(), Finished(one, trust))
    runs = list(found.values())
    if unfinished := [run.place for run in runs if run.place.is_dir() and _is_unfinished(run.place)]:
        raise UserError(
            f"unfinished: {some(unfinished)}; finish with python train.py resume=RUN_FOLDER, or name the others"
        )
    for run in runs:
        for what, ours, first in (
            ("classes", run.model.classes, runs[0].model.classes),
            ("malignant classes", run.model.positive, runs[0].model.positive),
            *((key, run.facts[key], runs[0].facts[key]) for key in ("data", "group_kind", "prepare")),
        ):
            if ours != first:
                raise UserError(f"{run.place} and {runs[0].place} differ in {what}; name them one by one")
    return runs


def _is_unfinished(folder: Path) -> bool:
    return (folder / ".hydra" / "config.yaml").is_file() and not (folder / "result.json").is_file()
