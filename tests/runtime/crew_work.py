"""What workers do in the tests of crews; they import it by its name."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

from foldmap.runtime.threads import thread_count


def squared(common: int, item: int) -> int:
    return common + item**2


def threads(_: int, item: int) -> tuple[int, str | None, bool]:
    """What a worker may use, what libraries are told, and whether numpy has begun without it."""
    return thread_count(), os.environ.get("OMP_NUM_THREADS"), "numpy" in sys.modules


def faults(_: int, item: int) -> int:
    """Pages that a worker fetches for a large buffer, when it has had and freed such a one before."""
    buffer = [bytearray(1 << 26)]
    buffer.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffer.append(bytearray(1 << 26))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def deadly(folder: str, item: int) -> int:
    """Item 2 kills its worker once, item 3 each time, and not before that: else it might take item 2's with it."""
    mark = Path(folder) / "died"
    if item == 3 or (item == 2 and not mark.exists()):
        while item == 3 and not mark.exists():
            time.sleep(0.01)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item
