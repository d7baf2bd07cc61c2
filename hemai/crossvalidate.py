"""`hemai crossvalidate`: train every fold, and evaluate what each said of the images it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hemai.build import build_data
from hemai.config import checked_arguments, compose
from hemai.errors import UserError
from hemai.evaluate import evaluate_tested
from hemai.evaluation.finished import Finished
from hemai.trainings import refuse, train_runs
from hemai.trust import check_names


def cross_validate(overrides: Sequence[str], out: Path, trust: bool = False) -> dict[str, Any]:
    """Train all folds, then pool their test images, of which each is tested once.

    Args:
        overrides: Data set, model and the rest, as for train.py; `data.split=fold` for the official folds of a data
            set, else `data.folds` grouped and stratified ones.
        out: Folder of the runs `fold_0`, `fold_1`, ... and of what `hemai.evaluate.evaluate` writes. Runs that are
            finished there are not repeated.
        trust: Run code that the folds name, even if it is not on the allowlist of `hemai.trust`.

    Returns:
        As `hemai.evaluate.evaluate_tested`.

    Raises:
        UserError: A wrong setting, or a training that failed.
    """
    refuse(("data.fold",), overrides, "crossvalidate")
    split = "data.split=fold" if "data.split=fold" in overrides else "data.split=kfold"
    rest = [override for override in overrides if override != split]
    if other := [override for override in rest if override.startswith("data.split=")]:
        raise UserError(f"{other[0]}: folds are made by data.split=kfold (the default here) or data.split=fold")
    config = compose(checked_arguments([*rest, split]))
    if not trust:  # before hours of training: the folds are read back as any run is
        check_names(OmegaConf.to_container(config, resolve=True), "crossvalidate")
    data = build_data(config)
    data.setup()  # a split that cannot be made is told before anything is written
    official = set(data.table["fold"]) - set(data.dataset.external)
    count = len(official) if data.split == "fold" else data.folds
    folders = train_runs(out, {f"fold_{fold}": [*rest, split, f"data.fold={fold}"] for fold in range(count)}, trust)
    return evaluate_tested([Finished(folder, trust) for folder in folders], out)
