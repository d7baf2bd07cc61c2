"""Launch trainings as separate processes, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hemai.runs.build import build_data
from hemai.runs.saved_run import SavedRun, load_run
from hemai.runs.start import resolve_run_folder
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder, read_overrides
from hemai.settings.trust import check_names
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import check_writable

TRAIN = (sys.executable, "-m", "hemai", "train")


def train(*overrides: str, **settings: Any) -> SavedRun:
    """Train and test a classifier, as `python train.py` does, and load the run.

    Args:
        *overrides: Settings of `configs/`, such as `"data=cnmc", "data.root=DIR", "trainer.max_epochs=50"`.
        **settings: Refused, with advice to pass strings.

    Returns:
        The run: `run.predict(images)`, `run.predictions("test")`, `run.folder`.

    Raises:
        UserError: A wrong setting, or a training that failed.
    """
    if settings or not all(isinstance(override, str) for override in overrides):
        found = [f"{name}={value!r}" for name, value in settings.items()] + [repr(o) for o in overrides]
        raise UserError(f'train({", ".join(found)}): expected strings, such as train("data=cnmc", "data.root=DIR")')
    if find := [override for override in overrides if override.startswith("find=") and override != "find=null"]:
        raise UserError(f"{find[0]} trains nothing, so there is no run to load; use python train.py {find[0]}")
    arguments = parse_arguments(overrides)
    config = compose(arguments)
    folder = resolve_run_folder(config, build_data(config).dataset.name).folder
    has_folder = any(override.startswith(("run_dir=", "resume=")) for override in arguments)
    command = [*TRAIN, *overrides, *([] if has_folder else [f"run_dir={folder}"])]
    # Line by line, so that a notebook shows the output too. Without colours, which ipykernel forces: with them come
    # progress bars, which a notebook cannot draw.
    plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=plain) as training:
        reason = ""
        for line in training.stdout or ():
            print(line, end="", flush=True)
            reason = line.removeprefix("error: ").strip() if line.startswith("error: ") else reason
    if training.returncode:
        reason = reason or "fix the error above and rerun"
        raise UserError(f"the training in {folder} failed with status {training.returncode}: {reason}")
    return load_run(folder, trust=config.trust is True or not config.resume)


def launch_runs(out: Path, runs: Mapping[str, Sequence[str]], trust: bool = False) -> list[Path]:
    """Train every run that is not finished; resume those that were stopped.

    Each run is a separate command: `python train.py ... run_dir=OUT/NAME`.

    Args:
        out: Parent folder of the runs.
        runs: Name of the run's folder -> overrides as for train.py.
        trust: Resume a stopped run even if it names code off the allowlist of `hemai.settings.trust`.

    Returns:
        The run folders.

    Raises:
        UserError: A wrong setting, a folder that holds a run with other settings, or a failed training.
    """
    check_writable(out)
    folders = {out / name: parse_arguments(overrides) for name, overrides in runs.items()}
    for folder, overrides in folders.items():
        compose(overrides)
        before = read_overrides(folder) if RunFolder(folder).overrides.is_file() else []
        if before and set(before) != set(overrides):
            raise UserError(f"{folder} is a run with other settings ({shorten(before, 9)}); choose another --out")
    for number, (folder, overrides) in enumerate(folders.items(), start=1):
        if RunFolder(folder).result.is_file():
            print(f"run {number} of {len(folders)}: {folder} is finished", flush=True)
            continue
        print(f"run {number} of {len(folders)}: {folder}", flush=True)
        stopped = RunFolder(folder).last.is_file()
        arguments = [f"resume={folder}", *["--trust"] * trust] if stopped else [*overrides, f"run_dir={folder}"]
        done = subprocess.run([*TRAIN, *arguments], check=False)
        if done.returncode:
            raise UserError(f"the training in {folder} failed with status {done.returncode}; fix the error and rerun")
    return list(folders)


def reject_reserved_overrides(keys: Sequence[str], overrides: Sequence[str], verb: str) -> None:
    """Refuse settings that a command sets itself, or that its trainings cannot have.

    Raises:
        UserError: Such settings, named in the message.
    """
    fixed = ("run_dir", "resume", "find", *keys)
    if given := [override for override in overrides if override.split("=")[0].lstrip("+~") in fixed]:
        raise UserError(f"{shorten(given)}: hemai {verb} sets this itself; remove it")


def train_folds(overrides: Sequence[str], out: Path, trust: bool = False) -> list[Path]:
    """Train all folds of a cross-validation; their test sets contain every image exactly once.

    Args:
        overrides: Data set, model and the rest, as for train.py; `data.split=fold` for the official folds of a data
            set, otherwise `data.folds` grouped and stratified ones.
        out: Folder of the runs `fold_0`, `fold_1`, ...; finished ones are not repeated.
        trust: Run code that the folds name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        The run folders.

    Raises:
        UserError: A wrong setting, or a training that failed.
    """
    reject_reserved_overrides(("data.fold",), overrides, "crossvalidate")
    split = "data.split=fold" if "data.split=fold" in overrides else "data.split=kfold"
    rest = [override for override in overrides if override != split]
    if other := [override for override in rest if override.startswith("data.split=")]:
        raise UserError(f"{other[0]}: folds are made by data.split=kfold (the default here) or data.split=fold")
    config = compose(parse_arguments([*rest, split]))
    if not trust:  # before hours of training: the folds are read back like any run
        check_names(OmegaConf.to_container(config, resolve=True), "crossvalidate")
    data = build_data(config)
    data.setup()  # an impossible split is refused before anything is written
    official = set(data.table["fold"]) - set(data.dataset.external)
    count = len(official) if data.split == "fold" else data.folds
    return launch_runs(out, {f"fold_{fold}": [*rest, split, f"data.fold={fold}"] for fold in range(count)}, trust)


def train_by_image_and_by_group(
    overrides: Sequence[str], out: Path, seeds: int, trust: bool = False
) -> dict[tuple[str, int], Path]:
    """Train the same model with an image-level and with a patient-level split, with several seeds.

    Args:
        overrides: Data set, model and the rest, as for train.py.
        out: Folder of the runs `image-0`, `group-0`, ...; finished ones are not repeated.
        seeds: Number of seeds (0, 1, ...); each has its own splits, initial weights and order of images.
        trust: See `launch_runs`.

    Returns:
        Run folders by (split, seed).

    Raises:
        UserError: A wrong setting, a data set without groups, or a training that failed.
    """
    reject_reserved_overrides(("seed", "data.seed", "model.seed", "data.split", "data.fold"), overrides, "leakage")
    if build_data(compose(parse_arguments(overrides))).dataset.group_kind == "image":
        raise UserError("every image is its own group here, so both splits are by image; set data.pattern or data.csv")
    settings = [(split, seed) for seed in range(seeds) for split in ("image", "group")]
    trainings = {f"{split}-{seed}": [*overrides, f"data.split={split}", f"seed={seed}"] for split, seed in settings}
    return dict(zip(settings, launch_runs(out, trainings, trust), strict=True))
