"""Commands in processes of their own, and what they took: time, processor time, and memory at most.

What `getrusage` calls the most memory of a process begins with that of whoever started it, over ``exec`` and all.
So commands are started by a process that is small itself, and a process asks the kernel for its own memory alone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import FoldmapError

_LAUNCH = """
import json, os, subprocess, sys
run = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(run.pid, flush=True)
_, status, used = os.wait4(run.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
_POLL_S = 0.02
_MB = 2**20 if sys.platform == "darwin" else 2**10  # of `ru_maxrss`


@dataclass(frozen=True)
class Ran:
    """What a command took: by the clock, processor time of it and of its children, memory of the largest of them."""

    seconds: float
    cpu_s: float
    peak_mb: float
    killed: bool = False


def run_measured(
    command: Sequence[str | Path],
    kill_s: float | None = None,
    kill_cpu_s: float | None = None,
    fine: Sequence[int] = (0,),
) -> Ran:
    """Run a command to its end, or kill it after so much time, by the clock or of its processor (without children).

    Raises:
        FoldmapError: it ended with another code than those that are ``fine``, and was not killed.
    """
    words = [str(word) for word in command]
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, *words]
    began_s, killed = time.perf_counter(), False
    with subprocess.Popen(launcher, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        while (kill_s is not None or kill_cpu_s is not None) and not killed and running.poll() is None:
            late = kill_s is not None and time.perf_counter() - began_s >= kill_s
            killed = late or (kill_cpu_s is not None and _cpu_s(pid) >= kill_cpu_s)
            if killed:
                os.kill(pid, signal.SIGKILL)
            else:
                time.sleep(_POLL_S)
        code, cpu_s, peak = json.loads(running.stdout.read())
    killed = killed and code == -signal.SIGKILL  # else it was done before
    if not killed and code not in fine:
        raise FoldmapError(f"{' '.join(words)} ended with {code}", "run it by itself")
    return Ran(time.perf_counter() - began_s, cpu_s, peak / _MB, killed)


def own_peak_mb() -> float:
    """Most memory that this process has had since it began, or since `forget_peak`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    return max(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Count `own_peak_mb` from now on; Linux alone can."""
    Path("/proc/self/clear_refs").write_text("5")


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far; 0 where it has just ended."""
    try:
        spent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")
