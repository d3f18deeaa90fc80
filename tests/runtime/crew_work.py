"""What workers do in the tests of crews; they import it by its name."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from foldmap.runtime.threads import thread_count


def squared(common: int, item: int) -> int:
    return common + item**2


def threads(_: int, item: int) -> tuple[int, str | None, bool]:
    """What a worker may use, what libraries are told, and whether numpy has begun without it."""
    return thread_count(), os.environ.get("OMP_NUM_THREADS"), "numpy" in sys.modules


def deadly(folder: str, item: int) -> int:
    """Item 2 kills its worker once, item 3 each time."""
    mark = Path(folder) / f"died-{item}"
    if item == 3 or (item == 2 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item
