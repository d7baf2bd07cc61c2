"""The command line: from `group=name key=value` to a checked configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hemai.checks import check_values, flat
from hemai.errors import UserError, nearest, some

# In the wheel the configs lie inside the package, in a checkout beside it.
_PLACES = (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
CONFIGS = next(place for place in _PLACES if place.is_dir())

PATH_KEYS = ("data.root", "data.csv", "model.weights", "run_dir", "resume")
VERBATIM_KEYS = (*PATH_KEYS, "data.pattern")
FIXED_ON_RESUME = ("data", "model", "transform", "seed", "monitor")


def best_precision(accelerator: str) -> str:
    """bf16-mixed where the processor has instructions for it, else 32-true."""
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16-mixed" if accelerator in ("auto", "cpu") and has_bf16 else "32-true"


OmegaConf.register_new_resolver("best_precision", best_precision, replace=True)


def quote(override: str) -> str:
    """Take paths and patterns as the shell gives them; other overrides stay as they are.

    Hydra's grammar fails on brackets, commas, quotes, equals signs, accents and spaces, so the value
    is quoted, and a path is made absolute: a run can then be repeated from any directory.
    """
    key, equals, value = override.partition("=")
    is_split_file = key == "data.split" and value.lower().endswith(".csv")
    if not equals or not (key in VERBATIM_KEYS or is_split_file) or value in ("null", "???"):
        return override
    if not value:
        raise UserError(f"{key}= has no value; give a path, or leave {key} out")
    if len(value) > 1 and value[0] == value[-1] == "'":  # quoted already, by us in the parent process
        return override
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if key in PATH_KEYS or is_split_file:
        value = os.path.abspath(os.path.expanduser(value))
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'")
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return f"{key}='{value}'"


def unquote(override: str) -> str:
    """An override as the user typed it, before `quote`."""
    typed = re.sub(r"\\(['$])", r"\1", re.sub(r"^([\w.]+)='(.*)'$", r"\1=\2", override))
    return typed if quote(typed) == override else override


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration, with the nearest right name for a wrong one.

    Args:
        overrides: `group=name` and `key=value`, in Hydra's grammar except for paths; see `quote`.

    Raises:
        UserError: Unknown group, name or key; a missing or a wrong value.
    """
    overrides = [quote(override) for override in overrides]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            config = hydra_compose("train", overrides)
            defaults = _defaults(overrides)
        except MissingConfigException as error:
            group, _, name = str(error.missing_cfg_file).partition("/")
            options = [option for option in error.options or () if not option.startswith("_")]
            raise UserError(
                f"{group}={name}: no such choice{nearest(name, options)} (expected {', '.join(options) or 'nothing'})"
            ) from error
        except OverrideParseException as error:
            raise UserError(f"cannot read '{error.override}': {error.message}; expected key=value") from error
        except ConfigCompositionException as error:
            raise _explain(error, overrides) from error
        except ValueError as error:  # a group without a choice, such as model=null
            raise UserError(" ".join(str(error).split())) from error
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{missing[0]} has no value; give it on the command line: {missing[0]}=...")
        settings = flat(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    check_values(settings, defaults)
    return config


def _explain(error: HydraException, overrides: Sequence[str]) -> UserError:
    message = f"{error} {error.__cause__ or ''}"
    found = re.search(r"Could not (?:override|append to|delete) '([^']+)'", message)
    if found is None:
        return UserError(" ".join(message.split()))
    key = found[1].split("@")[0].lstrip("+")
    if not re.search("not in struct|No match", message):
        return UserError(" ".join(message.split()))
    known = {name for leaf in _defaults(overrides) for name in (leaf, leaf.rpartition(".")[0]) if name}
    return UserError(f"unknown key '{key}'{nearest(key, known)} (python train.py --cfg job lists all keys)")


def _defaults(overrides: Sequence[str]) -> dict[str, Any]:
    """Every key with its default, for the choices made: `data=cnmc` has other keys than `data=folder`."""
    return flat(OmegaConf.to_container(hydra_compose("train", _of_groups(overrides))))


def _of_groups(overrides: Sequence[str]) -> list[str]:
    groups = [folder.name for folder in CONFIGS.iterdir() if folder.is_dir()]
    return [override for override in overrides if override.split("=")[0] in groups]


def choices(overrides: Sequence[str]) -> dict[str, str]:
    """Which file of each group a run was made of: as it said, else as its experiment says, else the default.

    Args:
        overrides: Of `.hydra/overrides.yaml`. If a file that they name is gone, only what they say is known.
    """
    return _choices(tuple(_of_groups(overrides)))


@cache
def _choices(overrides: tuple[str, ...]) -> dict[str, str]:
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return dict(hydra_compose("train", list(overrides), return_hydra_config=True).hydra.runtime.choices)
    except HydraException:
        return dict(override.split("=", 1) for override in overrides)


def checked_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the arguments of train.py before Hydra sees them.

    Args:
        arguments: As in `sys.argv[1:]`. With `resume=RUN` those of the run are put before them.

    Returns:
        Arguments for Hydra, paths quoted.

    Raises:
        UserError: See `compose`; also several devices in a multirun, and `resume` with a
            contradicting data set, model or split.
    """
    # `--cfg job`: a flag and its value.
    flags, overrides = _sorted(arguments)
    if {"--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc"} & set(flags):
        return [*flags, *overrides]
    multirun = bool({"--multirun", "-m"} & set(flags))
    run = next((o.split("=", 1)[1] for o in overrides if o.startswith("resume=")), "null")
    if run != "null":
        if multirun:
            raise UserError("resume=... with --multirun: a sweep is not resumed; resume its runs one by one")
        overrides = _resumed(Path(run.strip("'").replace("\\'", "'")), overrides)
    trials = _trials(overrides, multirun)
    if len(trials) > 1 and any(override.startswith("run_dir=") for override in overrides):
        raise UserError("--multirun with run_dir: every run needs a folder of its own; leave run_dir out")
    for trial in trials:
        devices = compose(trial)["trainer"]["devices"]
        if multirun and str(devices) not in ("1", "[0]"):
            raise UserError(
                f"--multirun with trainer.devices={devices}: every device would run a sweep of its own; "
                "use trainer.devices=1, or start the runs one by one"
            )
    return [*flags, *overrides]


def _sorted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values (`--cfg job`), and overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if re.search("=|^~", argument) and not argument.startswith("-"):
            overrides.append(quote(argument))
        elif argument.startswith("-") or before.startswith("-"):
            flags.append(argument)
        else:
            raise UserError(f"cannot read '{argument}'; expected key=value")
    return flags, overrides


def _trials(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """Every value of a sweep at least once."""
    if not multirun:
        return [list(overrides)]
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UserError(f"cannot read '{error.override}': {error.message}; expected key=value") from error
    values = [_values(override) for override in parsed]
    first = [choices[0] for choices in values]
    others = [[*first[:i], choice, *first[i + 1 :]] for i, choices in enumerate(values) for choice in choices[1:]]
    return [first, *others]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _resumed(run: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides of a run, then the new ones, which may change the trainer alone."""
    saved = run / ".hydra"
    if not (saved / "overrides.yaml").is_file():
        raise UserError(f"resume: {run} is no run folder (no .hydra/overrides.yaml); expected lightning_logs/...")
    if not (run / "checkpoints" / "last.ckpt").is_file():
        raise UserError(
            f"resume: {run} has no checkpoints/last.ckpt, so nothing was saved; delete the folder and start it again"
        )
    old = [str(o) for o in OmegaConf.load(saved / "overrides.yaml") if not str(o).startswith(("run_dir=", "resume="))]
    if other := [o for o in overrides if o.split("=")[0] in ("data", "model", "transform") and o not in old]:
        raise UserError(f"resume: {some(other)} contradicts the run ({some(old, 9)}); leave it out, or start a new run")
    both = [*(o for o in old if o not in overrides), *overrides]  # a further device gets them joined already
    now: Any = OmegaConf.to_container(compose(both), resolve=True)
    then: Any = OmegaConf.to_container(OmegaConf.load(saved / "config.yaml"), resolve=True)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        defaults = _defaults(both)
    for key in FIXED_ON_RESUME:
        # A setting that is new since the run stands at its default, as it did unsaid.
        new, before = flat({key: now[key]}), flat({key: then.get(key)})
        before = {name: defaults[name] for name in new if name in defaults} | before
        if differing := [name for name in {**new, **before} if new.get(name) != before.get(name)]:
            name = differing[0]
            raise UserError(
                f"resume: {name}={new.get(name)} contradicts the run, which has {before.get(name)}; "
                "leave it out, or start a new run"
            )
    return both
