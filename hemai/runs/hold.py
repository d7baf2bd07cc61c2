"""One training at a time in a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError

WAIT_S = 10  # the workers of a killed training end, and with them its lock, within about 5 seconds


@contextmanager
def hold_run_folder(run: RunFolder) -> Iterator[None]:
    """Keep other processes from training in this folder, such as a second `resume`; the lock ends with the process.

    On a file system without locks nobody is refused.

    Raises:
        UserError: Another process trains in the folder.
    """
    file = run.folder / ".lock"
    lock = FileLock(file)
    with suppress(OSError, NotImplementedError):
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout as error:
            raise UserError(
                f"resume: another training writes to {run.folder}; wait until it ends, or stop it"
            ) from error
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
            with suppress(OSError):
                file.unlink()
