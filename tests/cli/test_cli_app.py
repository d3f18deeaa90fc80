"""The command line as a whole: help, version, one line for an error, fast help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from cli_place import Ran

import foldmap

Run = Callable[..., Ran]
VERBS = ["demo", "build", "train", "fold", "localize", "evaluate", "bench", "show", "verify", "unfold"]


def test_no_arguments_print_help_with_every_verb(run: Run) -> None:
    assert all(f"  {verb}  " in run("--help").out for verb in VERBS)
    assert "Usage" in run().out + run().err
    assert run("--version").out == f"foldmap {foldmap.__version__}\n"


@pytest.mark.parametrize("verb", [[v] for v in VERBS if v not in ("build", "train", "bench")] + [["train", "lidar"]])
def test_help_shows_an_example(run: Run, verb: list[str]) -> None:
    ran = run(*verb, "--help")
    assert ran.status == 0
    assert f"  foldmap {' '.join(verb)} " in ran.out


@pytest.mark.parametrize("wrong", [["nothing"], ["fold", "--nothing"], ["show"]])
def test_wrong_use_is_exit_2(run: Run, wrong: list[str]) -> None:
    assert run(*wrong).status == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, foldmap.cli\n"
        "heavy = {'torch', 'numpy', 'scipy', 'numba', 'rasterio', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "foldmap", "verify", "no such file.fold"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no file no such file.fold (check the path)\n"
