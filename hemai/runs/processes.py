"""Several processes that share one command, started by torchrun or SLURM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment

from hemai.utils.errors import UserError, one_line

START = timedelta(minutes=10)
END = timedelta(days=30)  # processes may differ in speed; one that dies is noticed at once


@dataclass(frozen=True)
class Processes:
    """The processes of one command.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes, on all machines.
        wait_for_all: Wait until all processes are here; raises UserError if one died.
    """

    rank: int = 0
    world_size: int = 1
    wait_for_all: Callable[[], object] = lambda: None


def cluster_environment() -> ClusterEnvironment | None:
    """Launcher that started this process, torchrun or SLURM; None: neither.

    Raises:
        UserError: Variables of SLURM that contradict each other.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if not SLURMEnvironment.detect():
        return None
    try:
        # With it Lightning 2.6 leaves a checkpoint in the run folder on SIGUSR1, and the job that goes on would load it
        # in the place of the best one, and test that.
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise UserError(f"SLURM: {one_line(error)}") from error


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the other processes of torchrun or SLURM, and take the accelerator of this one.

    Raises:
        UserError: A process did not start within ten minutes, or died.
    """
    environment = cluster_environment()
    if environment is None or environment.world_size() == 1:
        yield Processes()
        return
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(environment.local_rank() % torch.accelerator.device_count())
    group = _connect(environment)
    try:
        yield Processes(environment.global_rank(), environment.world_size(), lambda: _wait(group))
    finally:
        dist.destroy_process_group()


def _connect(environment: ClusterEnvironment) -> dist.ProcessGroup:
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    rank, size = environment.global_rank(), environment.world_size()
    try:
        dist.init_process_group("gloo", timeout=START, rank=rank, world_size=size)
        dist.barrier()
        return cast(dist.ProcessGroup, dist.new_group(timeout=END))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {rank} of {size} cannot reach the others ({one_line(error)}); start all of them with one command"
        ) from error


def _wait(group: dist.ProcessGroup) -> None:
    try:
        dist.barrier(group=group)
    except RuntimeError as error:
        raise UserError(
            f"another process of this prediction stopped, its own message tells why ({one_line(error, 120)}); repeat "
            "the command: what is predicted is kept"
        ) from error
