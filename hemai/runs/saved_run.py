"""Read saved runs and checkpoints."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig

from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.data.splits import split_hash
from hemai.evaluation.predictions import OPERATING_POINT, Predictions
from hemai.models.classifier import CellClassifier
from hemai.runs.build import build_data
from hemai.runs.changed_images import check_contents
from hemai.runs.checkpoint import load_tensors, read_checkpoint
from hemai.runs.exported_folder import WEIGHTS, is_exported, read_exported
from hemai.runs.hub import fetch_run, is_on_hub
from hemai.runs.inference import Images, predict_images, prediction_table
from hemai.runs.own_predictions import read_own_predictions
from hemai.settings.overrides import unquote
from hemai.settings.run_folder import RunFolder, as_config, check_sections, read_overrides, read_settings
from hemai.settings.trust import check_names, check_prepare
from hemai.utils.errors import UserError, did_you_mean, one_line, shorten
from hemai.utils.files import read_table

COLUMNS = ["path", "label", "group", "split"]


@dataclass(frozen=True)
class SavedRun:
    """A finished run, a checkpoint without its run folder, or an exported run, also of the Hugging Face Hub.

    Attributes:
        path: Run folder, path of the checkpoint, folder of `hemai export --format safetensors`, or `hf-hub:OWNER/NAME`.
        trust: Run code that the files name, even if it is not on the allowlist of `hemai.settings.trust`.
    """

    path: Path
    trust: bool = False

    @cached_property
    def local(self) -> Path:
        """Path on this machine; what `path` names on the hub is fetched first."""
        return fetch_run(self.path) if is_on_hub(self.path) else self.path

    @cached_property
    def folder(self) -> RunFolder | None:
        """Run folder, also for the path of a checkpoint inside one; None for a bare checkpoint or an exported run."""
        if self.local.is_dir():
            return None if is_exported(self.local) else RunFolder(self.local)
        above = RunFolder(self.path.absolute().parent.parent)
        if not above.splits.is_file():
            return None
        splits = _read_splits(above)
        return above if split_hash(splits, splits["split"]) == self.metadata.get("split_hash") else None

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint, or of the weights of an exported run."""
        if is_exported(self.local):
            return self.local / WEIGHTS
        return RunFolder(self.local).best if self.local.is_dir() else self.local

    @cached_property
    def _content(self) -> dict[str, Any]:
        if not self.checkpoint.is_file():
            raise UserError(f"no checkpoint at {self.checkpoint}; expected the folder of a finished run, or a .ckpt")
        content = read_exported(self.local) if is_exported(self.local) else read_checkpoint(self.checkpoint, "RUN")
        if not self.trust:
            check_names(content["hyper_parameters"], self.checkpoint)
        _ = self.path.is_dir() and self.config  # refuse a folder that is damaged or names unknown code
        check_prepare(content["hyper_parameters"]["metadata"]["prepare"], self.checkpoint, self.trust)
        return content

    @cached_property
    def model(self) -> CellClassifier:
        """Classifier of the checkpoint, in eval mode.

        Raises:
            UserError: No checkpoint, or not a hemai checkpoint.
        """
        settings = self._content["hyper_parameters"] | {"weights": None, "pretrained": False}  # weights follow below
        try:
            model = CellClassifier(**settings)
        except Exception as error:  # of any kind: each network checks its own arguments
            raise UserError(f"no network follows from {self.checkpoint} ({one_line(error)}); copy it again") from error
        load_tensors(model, self._content, self.checkpoint)
        return model.eval()

    @property
    def best_epoch(self) -> int:
        """Epoch of the checkpoint, counted from 1."""
        return int(self._content["epoch"]) + 1

    @property
    def metadata(self) -> dict[str, Any]:
        """Provenance stored in the checkpoint: data set, split, prepare list, versions, threshold."""
        return self.model.hparams["metadata"]

    def has_predictions(self, split: str = "test") -> bool:
        """Whether the run holds predictions of a split."""
        return self.folder is not None and self.folder.predictions(split).is_file()

    def predictions(self, split: str = "test") -> Predictions:
        """Predictions of the run's own images, with its threshold and temperature.

        Args:
            split: "test", "val", or an external test set of the data set.

        Raises:
            UserError: The run has none, or they do not match the checkpoint or `splits.csv`.
        """
        if self.folder is None or not (file := self.folder.predictions(split)).is_file():
            kept = [] if self.folder is None else self.folder.predicted_splits()
            raise UserError(
                f"{self.path} has no {split} predictions{did_you_mean(str(split), kept)} (it has "
                f"{shorten(kept) or 'none'}); name the folder of a finished run with a {split} split, or "
                "give hemai evaluate an external test set with data=... data.root=..."
            )
        predictions = read_own_predictions(file, split, self.model, self.splits(), self.command)
        point: dict[str, Any] = {name: self.metadata.get(name) for name in OPERATING_POINT}
        return replace(predictions, group_kind=self.metadata["group_kind"], **point)

    def predict(self, images: Images) -> pd.DataFrame:
        """Predict unlabelled images.

        Args:
            images: A file, a folder, a pattern, or several of them; or arrays, uint8 RGB, (height, width, 3).

        Returns:
            One row per image, see `hemai.runs.inference.prediction_table`.

        Raises:
            UserError: No image, or images that cannot be read.
        """
        return prediction_table(predict_images([self.model], images)[0])

    @cached_property
    def config(self) -> DictConfig | None:
        """Configuration of the run, refused if it names unknown code; None for a bare checkpoint."""
        if self.folder is None or not self.folder.config.is_file():
            return None
        settings = read_settings(self.folder.folder)
        if not self.trust:
            check_names(settings, self.folder.config)
        check_sections(settings, self.folder.folder)
        return as_config(settings)

    @cached_property
    def command(self) -> str:
        """Shell command that reproduces the run; empty for a bare checkpoint."""
        if self.folder is None or not self.folder.overrides.is_file():
            return ""
        return shlex.join(["python", "train.py", *map(unquote, read_overrides(self.folder.folder))])

    @cached_property
    def dataset(self) -> type[CellDataset] | None:
        """Class of the data set, with licence and citation; None for a bare checkpoint."""
        if self.config is None:
            return None
        found: type[CellDataset] = get_class(self.config.data.dataset)
        return found

    def _repr_html_(self) -> str | None:
        """Report of the run, for a notebook; None without one."""
        report = self.path / "report.html"
        if not report.is_file():
            return None
        # Sandboxed: a stranger's report must not run scripts in the notebook.
        return f'<iframe sandbox srcdoc="{escape(report.read_text("utf-8"))}" width="100%" height="600"></iframe>'

    def data(self) -> CellDataModule:
        """Data module of the run, set up.

        Raises:
            UserError: The images moved or changed since the run.
        """
        if self.config is None:
            raise UserError(f"{self.path} is a network without its run folder; name the run folder")
        data = build_data(self.config)
        data.setup()
        if self.folder is not None:
            check_contents(read_table(self.folder.splits, "splits of the run", COLUMNS), data)
        if data.split_hash() != self.metadata.get("split_hash"):
            raise UserError(f"the images under {data.dataset.root} or their split changed since the run; restore them")
        return data

    def splits(self) -> pd.DataFrame:
        """Table of `splits.csv`; empty for a bare checkpoint."""
        return pd.DataFrame(columns=COLUMNS, dtype=str) if self.folder is None else _read_splits(self.folder)

    def shared_groups(self, tested: Predictions | None = None, dataset: CellDataset | None = None) -> set[str] | None:
        """Groups of the test images that also occur in training or validation.

        Args:
            tested: Predictions of an external test set; None for the run's own test images. Its groups are compared
                by name if the data set is that of the run, and always by the files that they share with it.
            dataset: The external test set.

        Returns:
            Names of the groups; None for a bare checkpoint, whose training groups are unknown.
        """
        if self.folder is None:
            return None
        splits = self.splits()
        trained = splits[splits["split"].isin(("train", "val"))]
        groups = set(trained["group"])
        if tested is None or dataset is None:
            return groups & set(splits["group"][splits["split"] == "test"])
        same_names = set(tested.table["group"]) if dataset.name == self.metadata["data"] else set()
        root = self.config.data.root if self.config is not None else None
        files = {str(Path(root) / path) for path in trained["path"]} if root else set()
        is_trained = [str(dataset.root / path) in files for path in tested.table["path"]]
        return (groups & same_names) | set(tested.table["group"][is_trained])


def _read_splits(folder: RunFolder) -> pd.DataFrame:
    return read_table(folder.splits, "splits of the run", COLUMNS)[COLUMNS]


def load_run(path: str | os.PathLike[str], trust: bool = False) -> SavedRun:
    """Load a run, a checkpoint or an exported run, for `run.predict(images)` and `evaluate(run.predictions("test"))`.

    Args:
        path: Run folder, such as `lightning_logs/cnmc-custom_cnn/2026-01-31_12-00-00`; path of a checkpoint; folder of
            `hemai export --format safetensors`; or `hf-hub:OWNER/NAME`.
        trust: Run code that the files name, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: No checkpoint, or not a hemai checkpoint.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise UserError(f"load_run({path!r}): expected the folder of a finished run, or a .ckpt")
    run = SavedRun(Path(path), trust)
    _ = run.model  # fail here, not at the first use
    return run
