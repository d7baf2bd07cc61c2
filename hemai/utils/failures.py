"""Words for failures of the machine: full disks, exhausted memory, processes that died, closed pipes."""

from __future__ import annotations

import errno
import re

from hemai.utils.errors import UserError, one_line

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, or a limit of the shell
MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|insufficient memory|unable to allocate"
    r"|DataLoader worker .*(killed|exited unexpectedly)|bus error",
    re.IGNORECASE,
)
LOST_PROCESS = re.compile(
    r"connection (was )?(closed|reset)|connection refused|broken pipe|gloo|ProcessGroup|NCCL|socket (has )?closed",
    re.IGNORECASE,
)
BROKEN_LIBRARY = re.compile(r"shared object|once per process")  # the second: torch, tried again
LESS_MEMORY = "use a smaller data.batch_size or model.image_size, or fewer data.num_workers (0: none)"


def explain_failure(error: BaseException) -> str | None:
    """Sentence about an error that the user can act on; None for others, which are bugs.

    Libraries wrap what is raised inside them, so the causes of the error are searched too.
    """
    causes = causes_of(error)
    for cause in causes:
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in FULL:
            return f"the disk is full: {cause}; free space and rerun"
    for cause in causes:
        text = one_line(cause)
        if isinstance(cause, MemoryError) or (isinstance(cause, (RuntimeError, OSError)) and MEMORY.search(text)):
            return f"out of memory ({text or type(cause).__name__}); {LESS_MEMORY}"
        if isinstance(cause, RuntimeError) and LOST_PROCESS.search(text):
            return f"another process of this training died, or cannot be reached ({text}); its own message tells why"
        if isinstance(cause, ImportError) and BROKEN_LIBRARY.search(text):
            return f"a library cannot be loaded ({text}); allow more memory (ulimit -v), or install hemai again"
        if isinstance(cause, OSError) and cause.filename is not None:
            return f"the system refuses a file ({text}); check its path, name and permissions"
    return None


def causes_of(error: BaseException) -> list[BaseException]:
    """An error, followed by its chain of causes."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:  # `raise known from error` can close a circle
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes
