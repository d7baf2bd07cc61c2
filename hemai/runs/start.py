"""Start a run: resolve its folder, and write what is known before training."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.data.datamodule import CellDataModule
from hemai.data.splits import split_hash
from hemai.runs.checkpoint import read_checkpoint
from hemai.runs.provenance import collect_provenance
from hemai.settings.compose import hydra_metadata
from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError
from hemai.utils.files import read_table, write_text

RUN_DIR_ENV = "HEMAI_RUN"  # passes the run folder from the first process to those of further devices


def resolve_run_folder(config: DictConfig, data_name: str) -> RunFolder:
    """Choose the folder of this run, without writing anything.

    Raises:
        UserError: `run_dir` is not empty, or the run of `resume` cannot be continued.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and os.environ.get(RUN_DIR_ENV):
        return RunFolder(Path(os.environ[RUN_DIR_ENV]))
    if config.resume:
        folder = Path(config.resume)
        last = read_checkpoint(RunFolder(folder).last, "resume")
        if not {"loops", "callbacks", "plateau"} <= last.keys():
            raise UserError(
                f"resume: {RunFolder(folder).last} is not a checkpoint of a run; delete the run and start it again"
            )
        if RunFolder(folder).best.is_file():
            read_checkpoint(RunFolder(folder).best, "resume")  # fail here, not after the training
        epochs_done, max_epochs = last["epoch"], config.trainer.max_epochs
        if max_epochs is not None and max_epochs < epochs_done:
            raise UserError(
                f"resume: the run is in epoch {epochs_done + 1}, past trainer.max_epochs={max_epochs}; increase it"
            )
    elif config.run_dir:
        folder = Path(config.run_dir)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"run_dir: {folder} is a file; choose another name")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"run_dir: {folder} already exists and is not empty; choose another name, or continue that run with "
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
    """Write what is known before training: configuration, overrides, provenance and split.

    A resumed run keeps its files.

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
    # Hydra's own settings do not concern the training; hydra.yaml holds the search path and selected configs.
    settings = [override for override in overrides if not override.startswith("hydra.")]
    provenance = collect_provenance(config, data, uses_gpu=config.trainer.accelerator != "cpu")
    try:
        run.config.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, run.config, resolve=True)
        for file, content in ((run.overrides, settings), (run.hydra, hydra_metadata(overrides))):
            write_text(file, yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=False))
        write_text(run.provenance, json.dumps(provenance, indent=2) + "\n")
        write_text(run.splits, data.table[["path", "label", "group", "split"]].to_csv(index=False))
    except OSError as error:
        raise UserError(f"cannot write the run folder {run.folder} ({error}); set run_dir to another path") from error
