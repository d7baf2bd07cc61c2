"""Several trainings one after the other, for the verbs that compare them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hemai.config import checked_arguments, compose
from hemai.errors import UserError, some
from hemai.files import check_writable
from hemai.saved import read_overrides


def train_runs(out: Path, runs: Mapping[str, Sequence[str]], trust: bool = False) -> list[Path]:
    """Train every run that is not finished; one that was stopped goes on.

    Each is a command of its own, as if typed: `python train.py ... run_dir=OUT/NAME`.

    Args:
        out: Folder above the runs.
        runs: Name of the run's folder -> overrides as for train.py.
        trust: Go on with one that was stopped even if it names code that is not on the allowlist of `hemai.trust`.

    Returns:
        The run folders.

    Raises:
        UserError: A setting that is wrong, a folder with a run of other settings, or a training that failed.
    """
    check_writable(out)
    folders = {out / name: checked_arguments(overrides) for name, overrides in runs.items()}
    for folder, overrides in folders.items():
        compose(overrides)
        before = read_overrides(folder) if (folder / ".hydra" / "overrides.yaml").is_file() else []
        if before and set(before) != set(overrides):
            raise UserError(f"{folder} is a run with other settings ({some(before, 9)}); choose another --out")
    for number, (folder, overrides) in enumerate(folders.items(), start=1):
        if (folder / "result.json").is_file():
            print(f"run {number} of {len(folders)}: {folder} is finished", flush=True)
            continue
        print(f"run {number} of {len(folders)}: {folder}", flush=True)
        stopped = (folder / "checkpoints" / "last.ckpt").is_file()
        arguments = [f"resume={folder}", *["--trust"] * trust] if stopped else [*overrides, f"run_dir={folder}"]
        done = subprocess.run([sys.executable, "-m", "hemai", "train", *arguments], check=False)
        if done.returncode:
            raise UserError(f"the training in {folder} ended with {done.returncode}; mend it, then repeat the command")
    return list(folders)


def refuse(keys: Sequence[str], overrides: Sequence[str], verb: str) -> None:
    """Stop on settings that a verb makes itself, or that its trainings cannot have.

    Raises:
        UserError: With their names.
    """
    fixed = ("run_dir", "resume", "find", *keys)
    if given := [override for override in overrides if override.split("=")[0].lstrip("+~") in fixed]:
        raise UserError(f"{some(given)}: hemai {verb} sets this itself; leave it out")
