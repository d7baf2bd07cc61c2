"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError

WAIT_S = 10  # the workers of a killed training end, and with them its lock, within about 5 seconds


@contextmanager
def hold_folder(folder: Path, busy: str, wait_s: float = 0) -> Iterator[None]:
    """Keep other processes from working in a folder; the lock ends with the process.

    On a file system without locks nobody is refused.

    Args:
        folder: Existing folder.
        busy: Message if another process holds it.
        wait_s: Time to wait for it, in seconds.

    Raises:
        UserError: Another process holds it.
    """
    file = folder / ".lock"
    lock = FileLock(file)
    with suppress(OSError, NotImplementedError):  # of a file system without locks
        try:
            lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise UserError(busy) from error
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
            with suppress(OSError):
                file.unlink()


@contextmanager
def hold_run_folder(run: RunFolder) -> Iterator[None]:
    """Keep other processes from training in a run folder, such as a second `resume`.

    Raises:
        UserError: Another process trains in the folder.
    """
    busy = f"resume: another training writes to {run.folder}; wait until it ends, or stop it"
    with hold_folder(run.folder, busy, WAIT_S):
        yield
