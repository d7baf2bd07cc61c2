"""Memory that is freed and needed again at once."""

from __future__ import annotations

import ctypes
import os
import platform

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h
SETTINGS = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, instead of giving it back to Linux and asking for it again.

    A network on a CPU frees and allocates megabytes of activations at every step. By default glibc unmaps them, and
    Linux fills each page with zeros when it is touched again, up to half of the time of a step. The memory of the
    process stays at its peak instead. Does nothing without glibc, or where the user chose an allocator or its settings
    by a variable (LD_PRELOAD, GLIBC_TUNABLES, MALLOC_...).

    Returns:
        Whether it is kept.
    """
    is_chosen = any(name.startswith(SETTINGS) for name in os.environ)
    if is_chosen or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
