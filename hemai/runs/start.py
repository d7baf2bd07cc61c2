"""Start a run: claim its folder, and write what is known before training."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hemai.data.datamodule import CellDataModule
from hemai.data.splits import split_hash
from hemai.models.source import is_source, short_name
from hemai.runs.changed_images import check_contents
from hemai.runs.checkpoint import read_checkpoint
from hemai.runs.processes import cluster_environment
from hemai.runs.provenance import collect_provenance
from hemai.settings.compose import hydra_metadata
from hemai.settings.run_folder import RunFolder
from hemai.settings.trust import check_names
from hemai.utils.errors import UserError
from hemai.utils.files import csv_text, read_table, write_text

RUN_DIR_ENV = "HEMAI_RUN"  # passes the run folder from the first process to those of further devices
IN_USE = (
    "run_dir: {folder} already exists and is not empty; choose another name, or continue that run with resume={folder}"
)
UNKNOWN_FOLDER = (
    "the processes were started by another launcher, torchrun or srun, and do not know each other's run folder; "
    "set run_dir=..."
)
CANNOT_WRITE = "cannot write the run folder {folder} ({error}); set run_dir to another path"


@contextmanager
def claim_run_folder(config: DictConfig, data_name: str) -> Iterator[RunFolder]:
    """Choose the folder of this run; one without a name of its own is created, so that no other run can take it.

    If an error follows before anything is written into the folder, it is removed again. `run_dir` is not touched here:
    `start_run` claims it.

    Yields:
        The run folder; in the processes of further devices that of the first.

    Raises:
        UserError: `run_dir` is not empty, the run of `resume` cannot be continued, or a folder cannot be created.
    """
    if getattr(rank_zero_only, "rank", 0) != 0 or os.environ.get("NODE_RANK", "0") != "0":
        yield RunFolder(_folder_of_first_process(config))
        return
    created: list[Path] = []
    if config.resume:
        folder = Path(config.resume)
        _check_resume(RunFolder(folder), config.trainer.max_epochs)
    elif config.run_dir:
        folder = Path(config.run_dir)
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"run_dir: {folder} is a file, or a link to nowhere; choose another name")
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(IN_USE.format(folder=folder))
    elif (launcher := cluster_environment()) and launcher.world_size() > 1:
        raise UserError(UNKNOWN_FOLDER)
    else:
        created = _create_folder(Path.cwd() / "lightning_logs" / f"{data_name}-{short_name(config.model.backbone)}")
        folder = created[0]
    os.environ[RUN_DIR_ENV] = str(folder)
    try:
        yield RunFolder(folder)
    except BaseException:
        with suppress(OSError):  # a folder that holds something stays
            for path in created:
                path.rmdir()
        raise


def _folder_of_first_process(config: DictConfig) -> Path:
    folder = config.resume or config.run_dir
    if not folder and cluster_environment() is None:  # to the processes of a launcher an earlier training left it
        folder = os.environ.get(RUN_DIR_ENV)
    if not folder:
        raise UserError(UNKNOWN_FOLDER)
    return Path(folder)


def _check_resume(run: RunFolder, max_epochs: int | None) -> None:
    last = read_checkpoint(run.last, "resume")
    if not {"loops", "callbacks", "plateau"} <= last.keys():
        raise UserError(f"resume: {run.last} is not a checkpoint of a run; delete the run and start it again")
    if run.best.is_file():
        read_checkpoint(run.best, "resume")  # fail here, not after the training
    if max_epochs is not None and max_epochs < (epochs_done := last["epoch"]):
        raise UserError(
            f"resume: the run is in epoch {epochs_done + 1}, past trainer.max_epochs={max_epochs}; increase it"
        )


def restore_network(config: DictConfig) -> None:
    """Take the network of a resumed run from its checkpoint, which holds the weights too, in place.

    So neither the hub nor a folder or file of weights is needed again.

    Raises:
        UserError: A checkpoint that is missing, damaged, or names unknown code.
    """
    config.model.weights, config.model.pretrained = None, False
    if is_source(config.model.backbone):
        last = RunFolder(Path(config.resume)).last
        hparams = read_checkpoint(last, "resume")["hyper_parameters"]
        if config.trust is not True:
            check_names(hparams, last)
        config.model.update({name: hparams[name] for name in ("backbone", "options", "mean", "sd")})


def _create_folder(parent: Path) -> list[Path]:
    """Create a folder named after this second, with a number if others have taken the name.

    Returns:
        The folder, then those above it that had to be created.
    """
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for name in (now, *(f"{now}_{number}" for number in range(2, 1_000))):
        folder = parent / name
        created = [folder, *(path for path in folder.parents if not path.exists())]
        try:
            folder.mkdir(parents=True)  # of several processes, on one machine or several, only one succeeds
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(CANNOT_WRITE.format(folder=folder, error=error)) from error
        return created
    raise UserError(f"{parent} holds a thousand runs of this second; set run_dir=...")


@rank_zero_only
def start_run(run: RunFolder, config: DictConfig, overrides: list[str], data: CellDataModule) -> None:
    """Write what is known before training: configuration, overrides, provenance and split.

    A resumed run keeps its files.

    Raises:
        UserError: The folder cannot be written, another run has taken it, or the images changed since the run that is
            resumed.
    """
    if config.resume:
        before = read_table(run.splits, "resume", ["path", "split"])
        check_contents(before, data)
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
        run.folder.mkdir(parents=True, exist_ok=True)
        run.config.parent.mkdir()  # claims the folder: of several runs with this run_dir only one succeeds
        OmegaConf.save(config, run.config, resolve=True)
        for file, content in ((run.overrides, settings), (run.hydra, hydra_metadata(overrides))):
            write_text(file, yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=False))
        write_text(run.provenance, json.dumps(provenance, indent=2) + "\n")
        write_text(run.splits, csv_text(data.table[["path", "label", "group", "split", "crc32"]]))
    except FileExistsError as error:
        raise UserError(IN_USE.format(folder=run.folder)) from error
    except OSError as error:
        raise UserError(CANNOT_WRITE.format(folder=run.folder, error=error)) from error
