"""Train with and without images of the tested patients, to measure leakage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hemai.data.datamodule import CellDataModule
from hemai.data.leakage import UNUSED, leak_test_groups
from hemai.data.splits import require_folds, split_table
from hemai.runs.build import build_data
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.training.launch import QUICK, UNDIVIDED, WITHOUT_VALIDATION, launch_runs, reject_reserved_overrides
from hemai.utils.errors import UserError
from hemai.utils.files import check_writable, csv_text, write_text

RESERVED = ("data.split", "data.fold", "data.allow_leakage", "data.val_share", "data.test_share", "monitor", "patience")


def train_clean_and_leaky(
    overrides: Sequence[str], out: Path, repeats: int = 1, doses: Sequence[float] = (0.5,), trust: bool = False
) -> dict[float, list[list[Path]]]:
    """Train the same network without and with images of the tested patients.

    For each of several folds of patients, a clean network trains on the patients of the other folds. Two leaky ones
    train on as many images of the same classes, some of which are from the tested patients: one half of each leaks, the
    other is tested, and the reverse. There is no validation: all networks train for `trainer.max_epochs`.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        out: Folder of the runs; finished ones are not repeated.
        repeats: Number of repetitions, each with its own folds and seed.
        doses: Fractions of each test patient's images that leak, above 0 to 0.5.
        trust: See `launch_runs`.

    Returns:
        Dose -> run folders of each fold, those of all repetitions in one list. Dose 0: the clean network. Other doses:
        the networks tested on the second and on the first half.

    Raises:
        UserError: A wrong setting, a data set without groups, or a training that failed.
    """
    reject_reserved_overrides(RESERVED, overrides, "leakage")
    if wrong := [dose for dose in doses if not 0 < dose <= 0.5]:
        raise UserError(f"--dose {wrong[0]:g}: expected a number above 0 up to 0.5: half of a patient's images")
    config = compose(parse_arguments([*overrides, *UNDIVIDED]))
    data = build_data(config)
    if data.dataset.group_kind == "image":
        raise UserError("every image is its own group here, so nothing can leak; set data.pattern or data.csv")
    data.setup()
    if data.permute_labels and repeats > 1:  # each seed has other labels, and so other folds
        raise UserError("data.permute_labels=true: expected --repeats 1, and another seed=... for each repetition")
    folds = require_folds(data.table, data.dataset.external)
    check_writable(out)
    runs: dict[str, list[str]] = {}
    found: dict[float, list[list[Path]]] = {dose: [] for dose in (0.0, *doses)}
    for seed in range(config.seed, config.seed + repeats):
        for fold in range(folds):
            for dose, of_dose in found.items():
                names = []
                for name, split in _splits(data, seed, fold, folds, dose):
                    names.append(out / name)
                    file = out.absolute() / "splits" / f"{name}.csv"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_text(file, split)
                    settings = [f"data.split={file}", "data.allow_leakage=true", f"seed={seed}"]
                    runs[name] = [*overrides, *settings, *WITHOUT_VALIDATION, *QUICK]
                of_dose.append(names)
    launch_runs(out, runs.items(), len(runs), trust)
    return found


def _splits(data: CellDataModule, seed: int, fold: int, folds: int, dose: float) -> Iterator[tuple[str, str]]:
    """Name and csv text of each split of a fold and a dose: one without leakage, else two."""
    external = data.dataset.external
    table = data.table.astype({"label": str, "group": str, "fold": str})
    split = split_table(table, "kfold", seed, fold, folds, external, {"train": 1.0})
    split = split.where(~split.isin(external), UNUSED)
    name = f"seed_{seed}_fold_{fold}"
    if dose == 0:
        yield f"{name}_clean", csv_text(table[["path"]].assign(split=split))
        return
    for half in (0, 1):
        leaky = leak_test_groups(table, split, half, dose, seed)
        yield f"{name}_dose_{dose:g}_half_{half}", csv_text(table[["path"]].assign(split=leaky))
