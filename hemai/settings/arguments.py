"""Parse the command line of train.py, also of a resumed run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hemai.settings.compose import compose, compose_unchecked, defaults
from hemai.settings.overrides import SEARCH_PATH, sort_arguments, take_config_folders, trials, unquote
from hemai.settings.run_folder import RunFolder, check_sections, read_overrides, read_settings
from hemai.settings.trust import check_composed, check_overrides
from hemai.settings.validation import flatten
from hemai.utils.errors import UserError, shorten

FIXED_ON_RESUME = ("data", "model", "transform", "seed", "monitor")
TRUST = "trust=true"


def parse_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the arguments of train.py before Hydra sees them.

    Args:
        arguments: As in `sys.argv[1:]`. With `resume=RUN` the overrides of that run are put in front.

    Returns:
        Arguments for Hydra, with paths quoted; `--config-dir DIR` and `--trust` are replaced by overrides.

    Raises:
        UserError: See `compose`; also several devices in a multirun, and `resume` with a
            contradicting data set, model or split.
    """
    # `--cfg job`: a flag and its value.
    flags, overrides = sort_arguments(take_config_folders(arguments))
    if "--trust" in flags:  # a setting: Lightning starts further devices with the settings alone
        flags.remove("--trust")
        overrides.append(TRUST)
    if {"--hydra-help", "--version", "--shell-completion", "-sc"} & set(flags):
        return [*flags, *overrides]
    multirun = bool({"--multirun", "-m"} & set(flags))
    run = next((unquote(o).partition("=")[2] for o in overrides if o.startswith("resume=")), "null")
    if run != "null":
        if multirun:
            raise UserError("resume=... with --multirun: a sweep cannot be resumed; resume its runs one by one")
        overrides = _resumed(Path(run), overrides)
    tried = trials(overrides, multirun)
    if len(tried) > 1 and any(override.startswith("run_dir=") for override in overrides):
        raise UserError("--multirun with run_dir: every run needs its own folder; remove run_dir")
    for trial in tried:
        devices = compose(trial)["trainer"]["devices"]
        if multirun and str(devices) not in ("1", "[0]"):
            raise UserError(
                f"--multirun with trainer.devices={devices}: every device would run a sweep of its own; "
                "use trainer.devices=1, or start the runs one by one"
            )
    return [*flags, *overrides]


def _resumed(run: Path, overrides: Sequence[str]) -> list[str]:
    """Overrides of a run, followed by the new ones, which may only change the trainer."""
    saved = RunFolder(run)
    if not saved.overrides.is_file():
        raise UserError(f"resume: {run} is not a run folder (no .hydra/overrides.yaml); expected lightning_logs/...")
    if not saved.last.is_file():
        if saved.result.is_file():
            raise UserError(f"resume: {run} is finished, and left nothing to continue from (as a probe does)")
        raise UserError(
            f"resume: {run} has no checkpoints/last.ckpt, so nothing was saved; delete the folder and rerun"
        )
    old = read_overrides(run)
    if any(override.startswith(f"{SEARCH_PATH}=") for override in overrides):  # config folders that have moved
        old = [override for override in old if not override.startswith(f"{SEARCH_PATH}=")]
    if other := [o for o in overrides if o.split("=")[0] in ("data", "model", "transform") and o not in old]:
        raise UserError(
            f"resume: {shorten(other)} contradicts the run ({shorten(old, 9)}); remove it, or start a new run"
        )
    both = [*(o for o in old if o not in overrides), *overrides]  # further devices receive them already joined
    if TRUST not in overrides:
        check_overrides(old, run)
        check_composed(compose_unchecked(both), overrides, run)
    now: Any = OmegaConf.to_container(compose(both), resolve=True)
    then, usual = read_settings(run), defaults(both)
    check_sections(then, run)
    for key in FIXED_ON_RESUME:
        # A setting that was added since the run counts as if the run had had its default.
        new, before = flatten({key: now[key]}), flatten({key: then.get(key)})
        before = {name: usual[name] for name in new if name in usual} | before
        if differing := [name for name in {**new, **before} if new.get(name) != before.get(name)]:
            name = differing[0]
            raise UserError(
                f"resume: {name}={new.get(name)} contradicts the run, which has {before.get(name)}; "
                "remove it, or start a new run"
            )
    return both
