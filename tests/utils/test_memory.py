"""The process keeps the memory that it frees."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from hemai.utils import memory

FAULTS = """
import resource, sys
from hemai.utils.memory import keep_freed_memory
kept = keep_freed_memory()
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * (64 << 20)  # freed at once; larger than what glibc would ever keep by itself
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
is_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")


def kept_and_faults(**variables):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(memory.SETTINGS)}
    run = [sys.executable, "-c", FAULTS]
    kept, faults = subprocess.run(run, env=plain | variables, capture_output=True, text=True, check=True).stdout.split()
    return kept == "True", int(faults)


@is_glibc
def test_memory_that_is_freed_and_needed_again_is_not_asked_from_the_system_again():
    kept, faults = kept_and_faults()
    assert kept
    assert faults < 1000  # 10 arrays of 16,384 pages


@is_glibc
def test_an_allocator_that_the_user_chose_is_left_alone():
    kept, faults = kept_and_faults(MALLOC_ARENA_MAX="4")
    assert not kept
    assert faults > 1000


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert memory.keep_freed_memory() is False
