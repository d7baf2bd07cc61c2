"""The command line: from `group=name key=value` to a checked configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hemai.checks import check_values, flat
from hemai.composition import CONFIGS, compose_unchecked, defaults
from hemai.errors import UserError, some
from hemai.overrides import PATH_KEYS, SEARCH_PATH, quote, sort_arguments, take_config_folders, trials, unquote
from hemai.saved import read_overrides, read_settings
from hemai.trust import check_composed, check_overrides

__all__ = ["CONFIGS", "PATH_KEYS", "best_precision", "checked_arguments", "compose", "quote", "unquote"]

FIXED_ON_RESUME = ("data", "model", "transform", "seed", "monitor")
TRUST = "trust=true"


def best_precision(accelerator: str) -> str:
    """bf16-mixed where the processor has instructions for it, else 32-true."""
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16-mixed" if accelerator in ("auto", "cpu") and has_bf16 else "32-true"


OmegaConf.register_new_resolver("best_precision", best_precision, replace=True)


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration, with the nearest right name for a wrong one.

    Args:
        overrides: `group=name` and `key=value`, in Hydra's grammar except for paths; see `hemai.overrides.quote`.

    Raises:
        UserError: Unknown group, name or key; a missing or a wrong value.
    """
    overrides = [quote(override) for override in overrides]
    config = compose_unchecked(overrides)
    with open_dict(config):
        del config.hydra
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{missing[0]} has no value; give it on the command line: {missing[0]}=...")
        settings = flat(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    check_values(settings, defaults(overrides))
    return config


def checked_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the arguments of train.py before Hydra sees them.

    Args:
        arguments: As in `sys.argv[1:]`. With `resume=RUN` those of the run are put before them.

    Returns:
        Arguments for Hydra: paths quoted, `--config-dir DIR` and `--trust` as the overrides that they mean.

    Raises:
        UserError: See `compose`; also several devices in a multirun, and `resume` with a
            contradicting data set, model or split.
    """
    # `--cfg job`: a flag and its value.
    flags, overrides = sort_arguments(take_config_folders(arguments))
    if "--trust" in flags:  # a setting: further devices start the same command with settings alone
        flags.remove("--trust")
        overrides.append(TRUST)
    if {"--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc"} & set(flags):
        return [*flags, *overrides]
    multirun = bool({"--multirun", "-m"} & set(flags))
    run = next((unquote(o).partition("=")[2] for o in overrides if o.startswith("resume=")), "null")
    if run != "null":
        if multirun:
            raise UserError("resume=... with --multirun: a sweep is not resumed; resume its runs one by one")
        overrides = _resumed(Path(run), overrides)
    tried = trials(overrides, multirun)
    if len(tried) > 1 and any(override.startswith("run_dir=") for override in overrides):
        raise UserError("--multirun with run_dir: every run needs a folder of its own; leave run_dir out")
    for trial in tried:
        devices = compose(trial)["trainer"]["devices"]
        if multirun and str(devices) not in ("1", "[0]"):
            raise UserError(
                f"--multirun with trainer.devices={devices}: every device would run a sweep of its own; "
                "use trainer.devices=1, or start the runs one by one"
            )
    return [*flags, *overrides]


def _resumed(run: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides of a run, then the new ones, which may change the trainer alone."""
    saved = run / ".hydra"
    if not (saved / "overrides.yaml").is_file():
        raise UserError(f"resume: {run} is no run folder (no .hydra/overrides.yaml); expected lightning_logs/...")
    if not (run / "checkpoints" / "last.ckpt").is_file():
        raise UserError(
            f"resume: {run} has no checkpoints/last.ckpt, so nothing was saved; delete the folder and start it again"
        )
    old = read_overrides(run)
    if any(override.startswith(f"{SEARCH_PATH}=") for override in overrides):  # config folders that moved since
        old = [override for override in old if not override.startswith(f"{SEARCH_PATH}=")]
    if other := [o for o in overrides if o.split("=")[0] in ("data", "model", "transform") and o not in old]:
        raise UserError(f"resume: {some(other)} contradicts the run ({some(old, 9)}); leave it out, or start a new run")
    both = [*(o for o in old if o not in overrides), *overrides]  # a further device gets them joined already
    if TRUST not in overrides:
        check_overrides(old, run)
        check_composed(compose_unchecked(both), overrides, run)
    now: Any = OmegaConf.to_container(compose(both), resolve=True)
    then, usual = read_settings(run), defaults(both)
    for key in FIXED_ON_RESUME:
        # A setting that is new since the run stands at its default, as it did unsaid.
        new, before = flat({key: now[key]}), flat({key: then.get(key)})
        before = {name: usual[name] for name in new if name in usual} | before
        if differing := [name for name in {**new, **before} if new.get(name) != before.get(name)]:
            name = differing[0]
            raise UserError(
                f"resume: {name}={new.get(name)} contradicts the run, which has {before.get(name)}; "
                "leave it out, or start a new run"
            )
    return both
