"""Keep the C library from returning large blocks to the system between two uses."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

# The numbers of <malloc.h>; they are part of glibc's binary interface.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")


@functools.cache
def keep_heap() -> bool:
    """Make freed memory stay with the process, so that the next update writes to pages that are already mapped.

    By default glibc maps a block of 32 MB or more afresh for each use and unmaps it when freed; training on a CPU then
    spends much of its time on page faults. Pays where large tensors come and go in every update; a second call and
    any other C library change nothing.

    **Formula**: ``mallopt(M_MMAP_MAX, 0)``: no block gets a mapping of its own; ``mallopt(M_TRIM_THRESHOLD, -1)``: the
    top of the heap is never given back.

    Returns:
        Whether the heap is kept: ``False`` where the C library is not glibc or the user's environment sets
        ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_MMAP_MAX_`` or ``MALLOC_TOP_PAD_``.

    Raises:
        Nothing.

    Example:
        >>> keep_heap() in (True, False)
        True

    Use with:
        Once, before training on a CPU; ``tutelage.train`` calls it. Memory on an accelerator is not touched.

    Helps / does not help:
        Models whose logits are kept whole gain most; with :func:`~tutelage.models.linear_cross_entropy`, which needs no
        such blocks, there is less left to gain (``benchmarks/throughput.py`` shows both). The process keeps its peak
        memory until it ends.

    Relations:
        Same effect as the environment ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1`` at start; an allocator such as
        jemalloc loaded in glibc's place is not affected.

    Source:
        The GNU C library manual, section "Malloc Tunable Parameters".
    """
    if sys.platform != "linux" or any(name in os.environ for name in _USER_SETTINGS):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, value) == 1 for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))
