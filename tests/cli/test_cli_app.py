"""The command line as a whole: help, version, one line for an error, fast help."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_place import Run

import foldmap

VERBS = [
    "demo",
    "build",
    "train",
    "fold",
    "localize",
    "evaluate",
    "calibrate",
    "report",
    "view",
    "bench",
    "show",
    "verify",
    "unfold",
    "serve",
]


def every_verb() -> Iterator[tuple[list[str], Any]]:
    """The program, its groups and its verbs with their words, found by walking it."""
    from typer.main import get_command

    from foldmap.cli import app

    pending: list[tuple[list[str], Any]] = [([], get_command(app))]
    while pending:
        words, verb = pending.pop()
        yield words, verb
        pending += [([*words, name], inner) for name, inner in getattr(verb, "commands", {}).items()]


def test_no_arguments_print_help_with_every_verb(run: Run) -> None:
    assert all(f"  {verb}  " in run("--help").out for verb in VERBS)
    assert "Usage" in run().out + run().err
    assert run("--version").out == f"foldmap {foldmap.__version__}\n"


def test_help_of_every_verb_shows_an_example(run: Run) -> None:
    for words, verb in every_verb():
        if not hasattr(verb, "commands"):
            assert f" foldmap {' '.join(words)} " in run(*words, "--help").out, words


def test_help_lists_options_by_panel(run: Run) -> None:
    told = run("localize", "--help").out
    places = [told.index(f"\n{panel}:\n") for panel in ("Arguments", "Options", "Sweeps", "Photos", "Streets")]
    assert places == sorted(places)
    assert told.index("--output") < places[2] < told.index("--online") < places[3] < told.index("--matcher")


@pytest.mark.parametrize("wrong", [["nothing"], ["fold", "--nothing"], ["show"]])
def test_wrong_use_is_exit_2(run: Run, wrong: list[str]) -> None:
    assert run(*wrong).status == 2


def test_wrong_use_of_every_verb_is_one_line_with_a_cure(run: Run) -> None:
    tried = 0
    for words, verb in every_verb():
        wrongs = [[*words, "--no-such-option"]]
        if words and not hasattr(verb, "commands"):
            numbers = [one for one in verb.params if one.type_descriptor.annotation in (int, float)]
            wrongs += [[*words, one.opts[0], "many"] for one in numbers]
            wrongs += [[*words, one.opts[0]] for one in verb.params if one.param_type_name == "option"][:1]
            if any(one.required for one in verb.params):
                wrongs.append(words)
        elif words:
            wrongs.append([*words, "no-such-verb"])
        for wrong in wrongs:
            if wrong[-1] == "--json":
                continue
            ran = run(*wrong)
            name = " ".join(["foldmap", *words])
            assert (ran.status, ran.out) == (2, ""), wrong
            assert ran.err.startswith("error: "), ran.err
            assert ran.err.endswith(f"({name} --help says what it takes)\n"), ran.err
            assert ran.err.count("\n") == 1, ran.err
            tried += 1
    assert tried > 100


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, foldmap.cli\n"
        "heavy = {'torch', 'numpy', 'scipy', 'numba', 'rasterio', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_ENDED = """
import importlib.util, os, signal, sys, time
from foldmap.atlas import FoldWriter
app = importlib.import_module("foldmap.cli.app")
from foldmap.visual.scene.colmap_library import pycolmap_module
def verb(**_):
    if importlib.util.find_spec("pycolmap"):  # takes signals for crashes
        pycolmap_module()
    with FoldWriter(sys.argv[1]):
        print(*os.listdir("."), flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        time.sleep(30)
app.app = verb
app.main()
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_command_that_is_ended_leaves_nothing_half_written(tmp_path: Path, name: str, status: int) -> None:
    told = [sys.executable, "-c", _ENDED, "map.fold", name]
    ran = subprocess.run(told, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == (".map.fold.partial", "")
    assert (ran.returncode, list(tmp_path.iterdir())) == (status, [])
    ignored = f"import signal; signal.signal(signal.{name}, signal.SIG_IGN)" + _ENDED.replace("30", "0")  # nohup
    assert subprocess.run([sys.executable, "-c", ignored, "map.fold", name], cwd=tmp_path, timeout=60).returncode == 0


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "foldmap", "verify", "no such file.fold"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no file no such file.fold (check the path)\n"


def test_options_that_errors_name_exist() -> None:
    """A cure that names an option which no verb takes would send a user from one error to the next."""
    import ast
    import re
    from pathlib import Path

    options = [one for _, verb in every_verb() for one in verb.params]
    known = {name for one in options for name in (*one.opts, *one.secondary_opts)}
    source = Path(__file__).resolve().parents[2] / "src" / "foldmap"
    unknown = []
    for path in sorted(source.rglob("*.py")):
        own_command = "argparse" in path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise) or own_command:
                continue
            constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            texts = [text for text in constants if isinstance(text, str)]
            named = {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
            unknown += [f"{path.name}:{node.lineno} {option}" for option in sorted(named - known)]
    assert len(known) > 50
    of_other_programs = ("--upgrade", "cache.py")  # pip's, and that of the town's pairs
    assert [each for each in unknown if not any(name in each for name in of_other_programs)] == []
