"""Paths of the files in a run folder, and the settings of a run, read back as data.

Nothing in the settings is evaluated, imported or built.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hemai.settings.compose import hydra_metadata
from hemai.settings.overrides import FILE, literal, parse, quote, search_path
from hemai.settings.upgrade import upgrade_names
from hemai.utils.errors import UserError, one_line
from hemai.utils.files import read_regular_file

MAX_BYTES = 1_000_000  # a configuration has about 4 kB
INNER = "inner"  # folder of the inner runs of a cross-validation, which choose epoch and threshold
# What the settings of every run hold: names of code, and values.
TEXTS = {"data": ("_target_", "dataset"), "model": ("_target_", "backbone"), "transform": ("_target_",)}
VALUES = {"data": ("batch_size",), "trainer": ("max_epochs",)}
COMMAND_SETTINGS = ("run_dir", "resume", "trust")  # settings of one command, not of the training


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files of a run, whether they exist or not.

    Attributes:
        folder: Path of the run folder.
    """

    folder: Path

    @property
    def best(self) -> Path:
        """Checkpoint of the epoch with the best monitored metric."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def config(self) -> Path:
        """Configuration of the run, all values resolved."""
        return self.folder / ".hydra" / "config.yaml"

    @property
    def overrides(self) -> Path:
        """Overrides that the user typed."""
        return self.folder / ".hydra" / "overrides.yaml"

    @property
    def hydra(self) -> Path:
        """Search path and selected configs."""
        return self.folder / ".hydra" / "hydra.yaml"

    @property
    def splits(self) -> Path:
        """Table of the images with their split."""
        return self.folder / "splits.csv"

    @property
    def provenance(self) -> Path:
        """What was left out of the data; code, weights and hardware of the training."""
        return self.folder / "provenance.json"

    @property
    def metrics(self) -> Path:
        """Metrics of every epoch."""
        return self.folder / "metrics.csv"

    @property
    def features(self) -> Path:
        """Features of the images, for a run that fitted a probe: arrays features, path, label, group, split."""
        return self.folder / "features.npz"

    @property
    def result(self) -> Path:
        """Metrics of the finished run."""
        return self.folder / "result.json"

    @property
    def search(self) -> Path:
        """What a search of settings tried, for the run of the best: numbers by name, and the metric `monitor`."""
        return self.folder / "search.json"

    @property
    def figures(self) -> Path:
        """Folder of the plots."""
        return self.folder / "figures"

    def predictions(self, split: str) -> Path:
        """Predictions of the images of a split, such as "val" or "test"."""
        return self.folder / f"predictions_{split}.csv"

    def predicted_splits(self) -> list[str]:
        """Names of the splits whose predictions the run holds."""
        return sorted(file.stem.removeprefix("predictions_") for file in self.folder.glob("predictions_*.csv"))


class _PlainLoader(yaml.SafeLoader):
    """YAML loader without aliases: hemai writes none, and a few nested ones can exhaust memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if getattr(event := self.peek_event(), "anchor", None):
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are refused", event.start_mark)
        return super().compose_node(parent, index)


def _read(file: Path, kind: type) -> Any:
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise UserError(f"{file} has {size:,} bytes, expected {MAX_BYTES:,} or fewer; it is not a hemai file")
        content = yaml.load(read_regular_file(file).decode(), _PlainLoader)
    except (OSError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"cannot read {file} ({' '.join(str(error).split())}); restore it, or leave it out") from error
    except ValueError as error:  # not UTF-8, or an invalid number or date
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {file} ({error}); expected the text that hemai wrote there") from error
    if not isinstance(content, kind):
        found, expected = type(content).__name__, kind.__name__
        raise UserError(f"{file}: found a {found}, expected a {expected}; restore the file, or leave the run out")
    return content


def read_settings(run: Path) -> dict[str, Any]:
    """Configuration of a run, with all values resolved as when it started."""
    settings: dict[str, Any] = upgrade_names(_read(RunFolder(run).config, dict))
    return settings


def check_sections(settings: dict[str, Any], run: Path) -> None:
    """Refuse settings that were read back if what every training has is missing.

    Not part of `read_settings`: names of unknown code are to be refused first.

    Raises:
        UserError: A section that is missing, or does not say what it builds.
    """
    file, hint = RunFolder(run).config, "as python train.py writes it; restore it, or leave the run out"
    for section in (*TEXTS, *VALUES):
        found = settings.get(section)
        texts, values = TEXTS.get(section, ()), VALUES.get(section, ())
        content = found if isinstance(found, dict) else {}
        missing = [key for key in texts if not isinstance(content.get(key), str)]
        if missing := missing + [key for key in values if key not in content]:
            words = one_line(repr(found), 80)
            raise UserError(f"{file}: found {words}, expected its {missing[0]} in {section}, {hint}")
    if missing := [key for key in ("seed", "monitor") if key not in settings]:
        raise UserError(f"{file}: found no {missing[0]}, expected it {hint}")


def as_config(settings: dict[str, Any]) -> DictConfig:
    """Convert settings that were read back into a configuration without interpolations.

    Raises:
        UserError: Values that a configuration cannot hold.
    """
    try:
        config: DictConfig = OmegaConf.create(literal(settings))
    except ValueError as error:  # OmegaConf's own errors are ValueErrors
        raise UserError(f"not a hemai configuration: {' '.join(str(error).split())}") from error
    return config


def read_result(run: Path) -> dict[str, float | None] | None:
    """Metrics of `result.json`; None for a run that has none yet.

    Raises:
        UserError: A file that cannot be read, or holds something else than numbers by name.
    """
    file = RunFolder(run).result
    if not file.is_file():
        return None
    try:
        result = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); restore it, or leave the run out") from error
    if not isinstance(result, dict):
        raise UserError(f"{file}: found a {type(result).__name__}, expected metrics by name; leave the run out")
    if wrong := [name for name, value in result.items() if not isinstance(value, int | float | None)]:
        found = one_line(repr(result[wrong[0]]), 80)
        raise UserError(f"{file}: {wrong[0]}={found}, expected a number; leave the run out")
    return result


def read_overrides(run: Path) -> list[str]:
    """Overrides that reproduce a run in another folder, including its config folders.

    Raises:
        UserError: A file that cannot be read, or an override that Hydra cannot read.
    """
    overrides = [quote(str(override)) for override in _read(RunFolder(run).overrides, list)]
    keys = [parsed.key_or_group for parsed in parse(overrides)]
    kept = [override for override, key in zip(overrides, keys, strict=True) if key not in COMMAND_SETTINGS]
    folders = _hydra(run).get("searchpath")
    if not folders:
        return kept
    if not isinstance(folders, list) or not all(str(folder).startswith(FILE) for folder in folders):
        raise UserError(f"{RunFolder(run).hydra}: searchpath={folders}: expected folders, [file://DIR]")
    return [search_path(str(folder).removeprefix(FILE) for folder in folders), *kept]


def read_selected_configs(run: Path) -> dict[str, str]:
    """Config that a run selected in each group.

    Older runs did not store it: it follows from their overrides, else their experiment, else the defaults. If a file
    that they name is gone, only the overrides are returned.
    """
    runtime = _hydra(run).get("runtime")
    choices = runtime.get("choices") if isinstance(runtime, dict) else None
    if isinstance(choices, dict):
        return {str(group): str(choice) for group, choice in choices.items() if choice is not None}
    overrides = read_overrides(run)
    try:
        found: dict[str, str] = hydra_metadata(overrides)["hydra"]["runtime"]["choices"]
        return found
    except (UserError, HydraException):
        return dict(override.split("=", 1) for override in overrides if "=" in override)


def _hydra(run: Path) -> dict[str, Any]:
    file = RunFolder(run).hydra
    hydra = _read(file, dict).get("hydra") if file.is_file() else None
    return hydra if isinstance(hydra, dict) else {}
