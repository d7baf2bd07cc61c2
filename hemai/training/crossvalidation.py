"""Cross-validation by patient: repeated, stratified and nested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from hemai.data.splits import count_folds, require_folds, split_table
from hemai.runs.build import build_data
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import INNER, RunFolder
from hemai.settings.trust import check_names
from hemai.training.folds import best_epoch, divide_into_folds, pool_validation, write_split
from hemai.training.launch import QUICK, UNDIVIDED, WITHOUT_VALIDATION, launch_runs, reject_reserved_overrides
from hemai.utils.errors import UserError

RESERVED = ("data.fold", "data.seed", "model.seed", "data.allow_leakage", "threshold.validation")


def crossvalidate(
    overrides: Sequence[str], out: Path, repeats: int = 5, is_nested: bool = True, trust: bool = False
) -> list[Path]:
    """Train all folds of a cross-validation by patient; the test sets of a repeat contain every image once.

    Nested: the patients that a fold trains on are divided into inner folds, as many as the rarest class has patients,
    at most five. The network of each inner fold is validated on it. The epoch with the best mean of the monitored
    metric, and the threshold and temperature for the pooled out-of-fold predictions, then hold for a network that
    trains on all of them. No choice sees a test image, and no patient is lost to validation.

    Args:
        overrides: Data set, model and the rest, as for train.py; `data.split=fold` for the official folds of a data
            set, otherwise `data.folds` grouped and stratified ones: by default as many as the rarest class has
            patients, at most five.
        out: Folder of the runs `fold_0` and so on (in `repeat_0` and so on, if there are several), and of the inner
            ones; finished ones are not repeated.
        repeats: Number of repetitions, each with its own seed.
        is_nested: False: each network is validated on `data.val_share` of its training patients instead.
        trust: Run code that the folds name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        The run folders, without the inner ones.

    Raises:
        UserError: A wrong setting, too few patients of a class, or a training that failed.

    Source: Varma & Simon, BMC Bioinformatics 7 (2006) 91, for the nesting.
    """
    reject_reserved_overrides([*RESERVED, *["data.val_share"] * is_nested], overrides, "crossvalidate")
    rule = "fold" if "data.split=fold" in overrides else "kfold"
    rest = [override for override in overrides if override != f"data.split={rule}"]
    if other := [override for override in rest if override.startswith("data.split=")]:
        raise UserError(f"{other[0]}: folds are made by data.split=kfold (the default here) or data.split=fold")
    is_counted = rule == "kfold" and not any(override.startswith("data.folds=") for override in rest)
    split = UNDIVIDED if is_counted else [f"data.split={rule}", *["data.val_share=0"] * is_nested]
    config = compose(parse_arguments([*rest, *split]))
    if not trust:  # before hours of training: the folds are read back like any run
        check_names(OmegaConf.to_container(config, resolve=True), "crossvalidate")
    data = build_data(config)
    data.setup()  # an impossible split is refused before anything is written
    if data.permute_labels and repeats > 1:  # each seed has other labels, and so other folds
        raise UserError("data.permute_labels=true: expected --repeats 1, and another seed=... for each repetition")
    table = data.table.astype({"label": str, "group": str, "fold": str})
    outer = _Folds(config, table, data.dataset.external, out, rest, rule, repeats)
    folders, inner, runs = [], 0, []
    for repeat in range(repeats):
        for fold in range(outer.count):
            splits = outer.inner_splits(repeat, fold) if is_nested else []
            inner += len(splits)
            folders.append(out / outer.name(repeat, fold))
            runs.append((repeat, fold, splits))
    total = len(folders) + inner
    print(
        f"{repeats} x {outer.count} folds"
        + (f", {inner} inner folds that choose epoch and threshold" if is_nested else "")
        + f": {total} trainings",
        flush=True,
    )
    launch_runs(out, (run for each in runs for run in outer.runs(*each, is_nested)), total, trust)
    return folders


@dataclass(frozen=True)
class _Folds:
    """The runs of a cross-validation."""

    config: DictConfig
    table: pd.DataFrame
    external: Sequence[str]
    out: Path
    overrides: Sequence[str]
    rule: str
    repeats: int

    @property
    def count(self) -> int:
        """Number of folds."""
        if self.rule == "fold":
            return len(set(self.table["fold"]) - set(self.external))
        if any(override.startswith("data.folds=") for override in self.overrides):
            return int(self.config.data.folds)
        return require_folds(self.table, self.external)

    def name(self, repeat: int, fold: int) -> str:
        """Folder of a run below `out`."""
        return f"repeat_{repeat}/fold_{fold}" if self.repeats > 1 else f"fold_{fold}"

    def inner_splits(self, repeat: int, fold: int) -> list[pd.Series]:
        """Splits of the training images of a fold into training and validation; empty with one patient of a class."""
        seed = self.config.seed + repeat
        split = split_table(self.table, self.rule, seed, fold, self.count, self.external, {"train": 1.0})
        count = count_folds(self.table[split == "train"])
        return divide_into_folds(self.table, split == "train", seed, count) if count > 1 else []

    def runs(
        self, repeat: int, fold: int, splits: Sequence[pd.Series], is_nested: bool
    ) -> Iterator[tuple[str, list[str]]]:
        """Name and overrides of the inner runs, then of the run of a fold, which rests on their results."""
        name, seed = self.name(repeat, fold), f"seed={self.config.seed + repeat}"
        folder = self.out / INNER / name
        for number, split in enumerate(splits):
            setting = write_split(folder / f"{number}.csv", self.table, split)
            yield f"{INNER}/{name}/{number}", [*self.overrides, setting, seed, *QUICK]
        split_settings = [f"data.split={self.rule}", f"data.fold={fold}", f"data.folds={self.count}", seed]
        chosen = list(WITHOUT_VALIDATION) if is_nested else []
        if splits:
            inner = [RunFolder(folder / str(number)) for number in range(len(splits))]
            epochs = int(self.config.trainer.max_epochs)
            if self.config.monitor is not None and not self.config.probe:
                epochs, _ = best_epoch(inner, self.config.monitor)
            chosen += [f"trainer.max_epochs={epochs}", pool_validation(inner, folder / "predictions.csv")]
        yield name, [*self.overrides, *split_settings, *chosen]
