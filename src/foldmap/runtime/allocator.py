"""Keep freed memory in the process: networks ask for the same large buffers at every step.

glibc hands large buffers back to the kernel and fetches them again, zeroed page by page; for the networks here that
costs a good part of the time. A program that localizes or trains calls `keep_freed_memory` once at its start, and so do
the processes that a crew starts; a library must not change its host's allocator unasked, so nothing else here does.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc not to return memory; True where there is a glibc that was told."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
