"""keep_heap: it really keeps the pages, in a process of its own, and leaves others alone."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tutelage.models import heap
from tutelage.models.heap import keep_heap

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

# Page faults of ten uses of a block of 64 MiB, after the first.
PROGRAM = """
import ctypes, resource, sys
from tutelage.models.heap import keep_heap
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
def use():
    block = library.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    library.free(block)
kept = keep_heap() if sys.argv[1] == "keep" else None
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def outcome(choice: str, **environment: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, choice],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_pages_stay_mapped():
    kept, faults = outcome("keep")
    _, faults_without = outcome("leave")
    assert kept == "True"
    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB: mapped afresh ten times, or never.
    assert faults < 10
    assert faults_without >= 10 * 32


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_the_users_own_setting_wins():
    assert outcome("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"


def test_may_be_called_again():
    assert keep_heap() is keep_heap()


def test_does_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: pytest.fail("no C library may be touched"))
    assert keep_heap.__wrapped__() is False


def test_does_nothing_without_glibc(monkeypatch):
    monkeypatch.setattr(heap.sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    for name in heap._USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert keep_heap.__wrapped__() is False
