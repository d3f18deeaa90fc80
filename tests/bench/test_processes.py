"""What a command took, whoever started it."""

import sys

import numpy as np
import pytest

from benchmarks.processes import forget_peak, own_peak_mb, run_measured
from foldmap.errors import FoldmapError

PYTHON = (sys.executable, "-S", "-c")
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")


@linux
def test_memory_is_the_commands_own() -> None:
    held = np.ones(40_000_000)  # 320 MB of this process
    empty, filled = (run_measured([*PYTHON, f"held = bytearray(b'1') * {size}"]) for size in (1, 200 << 20))
    assert held.sum() == len(held)
    assert empty.peak_mb < 60
    assert 200 < filled.peak_mb < empty.peak_mb + 230
    of_a_child = run_measured([*PYTHON, f"import subprocess; subprocess.run({[*PYTHON, 'bytearray(1 << 28).copy()']})"])
    assert of_a_child.peak_mb > 256


@linux
def test_a_process_forgets_what_it_had() -> None:
    forget_peak()
    before_mb = own_peak_mb()
    held = np.ones(20_000_000)
    assert own_peak_mb() > before_mb + 140
    del held
    forget_peak()
    assert own_peak_mb() < before_mb + 60


def test_a_command_is_killed_in_time_or_told_to_have_failed() -> None:
    forever = [*PYTHON, "while True: pass"]
    for limits in ({"kill_s": 0.2}, {"kill_cpu_s": 0.1}):
        assert run_measured(forever, **limits).killed
    quick = run_measured([*PYTHON, "sum(range(10**6))"], kill_s=600.0)
    assert not quick.killed
    assert 0.0 < quick.cpu_s <= quick.seconds + 0.1
    assert run_measured([*PYTHON, "raise SystemExit(3)"], fine=(0, 3)).cpu_s > 0.0
    with pytest.raises(FoldmapError, match="ended with 3"):
        run_measured([*PYTHON, "raise SystemExit(3)"])
