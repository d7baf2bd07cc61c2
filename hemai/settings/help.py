"""The help of train.py, without the seconds that Hydra takes to list its own groups."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf, open_dict

from hemai.settings.compose import CONFIGS, compose_unchecked
from hemai.settings.overrides import config_folders, sort_arguments, take_config_folders

HELP = """\
usage: python train.py [group=name ...] [key=value ...] [--multirun] [--config-dir DIR]
Hydra's own flags: python train.py --hydra-help. configs/ explains every setting.

Groups (group=name):
{groups}
Settings and their defaults (key=value):
{settings}"""


def help_text(arguments: Sequence[str]) -> str:
    """Groups, their choices, and the settings of the selected ones; also of the user's config folders.

    Args:
        arguments: As in `sys.argv[1:]`.

    Raises:
        UserError: See `hemai.settings.compose.compose_unchecked`.
    """
    _, overrides = sort_arguments(take_config_folders(arguments))
    choices: dict[str, list[str]] = {}
    for folder in (CONFIGS, *config_folders(overrides)):
        for file in folder.glob("*/[!_]*.yaml"):
            choices.setdefault(file.parent.name, []).append(file.stem)
    config = compose_unchecked(overrides)
    with open_dict(config):
        del config.hydra
    groups = "".join(f"  {group}: {', '.join(sorted(names))}\n" for group, names in sorted(choices.items()))
    return HELP.format(groups=groups, settings=OmegaConf.to_yaml(config))
