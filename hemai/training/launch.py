"""Launch trainings as separate processes, one after the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hemai.runs.build import build_data
from hemai.runs.hold import hold_folder
from hemai.runs.saved_run import SavedRun, load_run
from hemai.runs.start import claim_run_folder
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.settings.run_folder import RunFolder, read_overrides
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import check_writable

# All groups outside the test train, for a fixed number of epochs.
WITHOUT_VALIDATION = ("data.val_share=0", "monitor=null", "patience=null", "model.plateau=null")
# All images in one part, to count their patients before they are divided into folds.
UNDIVIDED = ("data.split=image", "data.val_share=0", "data.test_share=0")
QUICK = ("report=false", "plots=false")
TRAIN = (sys.executable, "-m", "hemai", "train")
POLL_S = 2  # between two looks at a training that is followed


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
    has_folder = any(override.startswith(("run_dir=", "resume=")) for override in arguments)
    # Line by line, so that a notebook shows the output too. Without colours, which ipykernel forces: with them come
    # progress bars, which a notebook cannot draw.
    plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | {"PYTHONIOENCODING": "utf-8"}
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "env": plain}
    with claim_run_folder(config, build_data(config).dataset.name) as run:
        command = [*TRAIN, *overrides, *([] if has_folder else [f"run_dir={run.folder}"])]
        with subprocess.Popen(command, **piped) as training:
            reason = ""
            for line in training.stdout or ():
                print(line, end="", flush=True)
                reason = line.removeprefix("error: ").strip() if line.startswith("error: ") else reason
        if training.returncode:
            reason = reason or "fix the error above and rerun"
            raise UserError(f"the training in {run.folder} failed with status {training.returncode}: {reason}")
    return load_run(run.folder, trust=config.trust is True or not config.resume)


def launch_runs(
    out: Path,
    runs: Iterable[tuple[str, Sequence[str]]],
    total: int,
    trust: bool = False,
    follow: Callable[[RunFolder], None] | None = None,
) -> list[Path]:
    """Train every run that is not finished, one after the other; resume those that were stopped.

    Each run is a separate command: `python train.py ... run_dir=OUT/NAME`.

    Args:
        out: Parent folder of the runs.
        runs: Name of the run's folder, and overrides as for train.py; a generator may read the results of the runs that
            it yielded before.
        total: Number of runs.
        trust: Resume a stopped run even if it names code off the allowlist of `hemai.settings.trust`.
        follow: Called every few seconds while a run trains, and when it is finished; what it raises stops the run.

    Returns:
        The run folders.

    Raises:
        UserError: A wrong setting, a folder that holds a run with other settings, or a failed training.
    """
    check_writable(out)
    folders = []
    for number, (name, settings) in enumerate(runs, start=1):
        folder, overrides = out / name, parse_arguments(settings)
        folders.append(folder)
        compose(overrides)
        _wait_for_other_process(folder)
        before = read_overrides(folder) if RunFolder(folder).overrides.is_file() else []
        if before and set(before) != set(overrides):
            raise UserError(f"{folder} is a run with other settings ({shorten(before, 9)}); choose another --out")
        if RunFolder(folder).result.is_file():
            print(f"run {number} of {total}: {folder} is finished", flush=True)
            if follow:
                follow(RunFolder(folder))
            continue
        print(f"run {number} of {total}: {folder}", flush=True)
        stopped = RunFolder(folder).last.is_file()
        if before and not stopped:  # nothing was saved: it starts again
            shutil.rmtree(folder)
        arguments = [f"resume={folder}", *["--trust"] * trust] if stopped else [*overrides, f"run_dir={folder}"]
        if follow is None:
            status = subprocess.run([*TRAIN, *arguments], check=False).returncode
        else:
            status = _run_followed([*TRAIN, *arguments], RunFolder(folder), follow)
        if status:
            raise UserError(f"the training in {folder} failed with status {status}; fix the error and rerun")
    return folders


def _wait_for_other_process(folder: Path) -> None:
    """Wait until no process trains in a folder, such as one whose parent was killed."""
    if not folder.is_dir():
        return
    try:
        with hold_folder(folder, "busy"):
            return
    except UserError:
        print(f"another process trains in {folder}; waiting until it ends", flush=True)
    with hold_folder(folder, "", wait_s=-1):  # filelock: for ever
        pass


def _run_followed(command: Sequence[str], run: RunFolder, follow: Callable[[RunFolder], None]) -> int:
    """Run a training, looking at its folder every few seconds; its exit status."""
    with subprocess.Popen(command) as training:
        try:
            status = None
            while status is None:
                with suppress(subprocess.TimeoutExpired):
                    training.wait(POLL_S)
                status = training.poll()
                if not status:  # it trains, or is finished; one that failed is not followed
                    follow(run)
        except BaseException:
            training.terminate()
            training.wait()
            raise
    return status


def reject_reserved_overrides(keys: Sequence[str], overrides: Sequence[str], verb: str) -> None:
    """Refuse settings that a command sets itself, or that its trainings cannot have.

    Raises:
        UserError: Such settings, named in the message.
    """
    fixed = ("run_dir", "resume", "find", *keys)
    if given := [override for override in overrides if override.split("=")[0].lstrip("+~") in fixed]:
        raise UserError(f"{shorten(given)}: hemai {verb} sets this itself; remove it")
