"""Start a run: resolve its folder, and write what is known before training."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.data.datamodule import CellDataModule
from hemai.data.splits import split_hash
from hemai.models.weights import read_torch_file
from hemai.settings.compose import hydra_metadata
from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError
from hemai.utils.files import read_table, write_text

RUN_DIR_ENV = "HEMAI_RUN"  # tells the processes of further devices the folder that the first one chose


def resolve_run_folder(config: DictConfig, data_name: str) -> RunFolder:
    """The folder of this run; nothing is written yet.

    Raises:
        UserError: `run_dir` is not empty and this is no resume.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and os.environ.get(RUN_DIR_ENV):
        return RunFolder(Path(os.environ[RUN_DIR_ENV]))
    if config.resume:
        folder = Path(config.resume)
        last = read_torch_file(RunFolder(folder).last, "resume")
        if not isinstance(last, dict) or not {"loops", "state_dict", "callbacks", "plateau"} <= last.keys():
            raise UserError(
                f"resume: {RunFolder(folder).last} is no checkpoint of a run; delete the run and start it again"
            )
        done, wanted = int(last["epoch"]), config.trainer.max_epochs
        if wanted is not None and wanted < done:
            raise UserError(
                f"resume: the run is in epoch {done + 1}, past trainer.max_epochs={wanted}; give more epochs"
            )
    elif config.run_dir:
        folder = Path(config.run_dir)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"run_dir: {folder} is a file; choose another name")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"run_dir: {folder} already exists and is not empty; choose another name, or go on with that run by "
                f"resume={folder}"
            )
    else:
        name = f"{data_name}-{config.model.backbone}"
        folder = Path.cwd() / "lightning_logs" / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        tries = (folder.with_name(f"{folder.name}_{i}") for i in range(2, 1_000))
        folder = folder if not folder.exists() else next(path for path in tries if not path.exists())
    os.environ[RUN_DIR_ENV] = str(folder)
    return RunFolder(folder)


@rank_zero_only
def start_run(run: RunFolder, config: DictConfig, overrides: list[str], data: CellDataModule) -> None:
    """Write what is known before training: configuration, overrides and split.

    A resumed run keeps what it has.

    Raises:
        UserError: The folder cannot be written, or the images changed since the run that is resumed.
    """
    if config.resume:
        before = read_table(run.splits, "resume", ["path", "split"])
        if split_hash(before, before["split"]) != data.split_hash():
            raise UserError(
                f"resume: the images under {data.dataset.root} or their split changed since the run "
                f"({len(before):,} images then, {len(data.table):,} now); restore them, or start a new run"
            )
        return
    # Hydra's own settings are not of the training; search path and selected configs stand in hydra.yaml.
    settings = [override for override in overrides if not override.startswith("hydra.")]
    try:
        run.config.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, run.config, resolve=True)
        for file, content in ((run.overrides, settings), (run.hydra, hydra_metadata(overrides))):
            write_text(file, yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=False))
        write_text(run.splits, data.table[["path", "label", "group", "split"]].to_csv(index=False))
    except OSError as error:
        raise UserError(f"cannot write the run folder {run.folder} ({error}); set run_dir to another place") from error
