"""Measure what is not measured yet, or was measured on other recordings or code; then make the documents' tables anew.

python -m benchmarks.evidence [NAME ...] [--list] [--pages] [--count] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.evidence.pages import count_typed, rewrite
from benchmarks.evidence.results import RESULTS, Measured, Results, read_results
from benchmarks.evidence.runs import Run, chosen_runs
from benchmarks.evidence.seals import ROOT, changed, code_seal, folder_seal, tree_seals
from foldmap.errors import FoldmapError
from foldmap.version import __version__


def empty_results(run: Run, shared: Path, threads: int) -> Results:
    """A run's results before any seed, with the recordings that decide them."""
    inputs = " ".join(folder_seal(shared / one) for one in run.reads)
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
    }
    command = f"{run.command} --threads {threads}"
    return Results(run.name, command, inputs, {}, machine, __version__)


def still_right(kept: Results | None, wanted: Results) -> str:
    """Empty where kept results are of the very recordings and code; else what is to be said of them."""
    if kept is None:
        return "never measured"
    if kept.inputs != wanted.inputs:
        return "the recordings are others"
    if kept.command.partition(" --threads ")[0] != wanted.command.partition(" --threads ")[0]:
        return "it was asked otherwise"
    others = changed(kept.code)
    if kept.code and not others:
        return ""
    return f"the code is another: {others[0]} and {len(others) - 1} more" if others else "nobody knows of which code"


def missing(run: Run, shared: Path) -> list[str]:
    """Recordings that are not here."""
    return [one for one in run.reads if not (shared / one).is_dir()]


def state_of(run: Run, shared: Path, threads: int, folder: Path = RESULTS) -> str:
    """``done``, or why a run is to be measured, or why it cannot be."""
    if lacking := missing(run, shared):
        return f"no recordings at {shared / lacking[0]}"
    kept = read_results(run.name, folder)
    why = still_right(kept, empty_results(run, shared, threads))
    if why or kept is None:
        return why
    return "done" if len(kept.seeds) >= run.seeds else f"{len(kept.seeds)} of {run.seeds} seeds"


def measure(run: Run, shared: Path, threads: int, work: Path, folder: Path = RESULTS) -> bool:
    """Measure the seeds that are missing, writing the results file after each; whether all could be measured."""
    wanted = empty_results(run, shared, threads)
    kept = read_results(run.name, folder)
    results = kept if kept is not None and not still_right(kept, wanted) else wanted
    for seed in map(str, range(run.seeds)):
        if seed in results.seeds:
            continue
        found = _measured(run, seed, shared, threads, work / code_seal(run.module, run.also)[:12])
        if found is None:
            return False
        measured, code = found
        code = {**results.code, **code, **tree_seals(run.also)}
        results = replace(results, code=code, seeds={**results.seeds, seed: measured})
        results.write(folder)
    return True


def _measured(run: Run, seed: str, shared: Path, threads: int, work: Path) -> tuple[Measured, dict[str, str]] | None:
    """One seed in a process of its own, and the code it used; None where it failed, or nothing could be measured."""
    work.mkdir(parents=True, exist_ok=True)
    output = work / f"{run.name}-{seed}.json"
    output.unlink(missing_ok=True)
    words = [sys.executable, "-m", "benchmarks.scoreboard", *run.options(seed), "--threads", str(threads)]
    words += [
        "--module",
        run.module,
        "--kept",
        str(work),
        "--features",
        str(work.parent / "features"),
        "-o",
        str(output),
    ]
    before, begin_s, load = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), os.getloadavg()[0]
    environment = {**os.environ, "FOLDMAP_SHARED": str(shared), "OMP_NUM_THREADS": str(threads)}
    subprocess.run(words, cwd=ROOT, env=environment, check=False)  # status 1 says that a figure is short
    seconds, after = time.perf_counter() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if not output.is_file():
        return None
    told = json.loads(output.read_text(encoding="utf-8"))
    lines = [line for row in told["rows"] for line in row["lines"]]
    if any(line["verdict"].startswith("failed") for line in lines):
        return None  # a row that failed says so; its figures are not kept
    if all(line["measured"] is None for line in lines):
        return None
    figures = [{**line, "detail": line["detail"] if "table" in line["detail"] else {}} for line in lines]
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(round(seconds, 1), round(processor_s, 1), round(load, 2), figures), told["code"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 where all that was wanted is measured, 1 where something could not be, 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="runs by name or the beginning of it; all where left out")
    parser.add_argument("--list", action="store_true", help="say what is done and what is not, and measure nothing")
    parser.add_argument("--pages", action="store_true", help="make the tables of the documents alone")
    parser.add_argument("--count", action="store_true", help="print how many figures of each page were typed, as JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "evidence", help="what runs keep to go on with")
    given = parser.parse_args(argv)
    shared = Path(os.environ.get("FOLDMAP_SHARED", ROOT.parent / "shared"))
    runs = chosen_runs(given.names)
    if given.threads < 1 or not runs:
        print(f"error: {given.threads} threads, {len(runs)} runs; see --list", file=sys.stderr)
        return 2
    right = True
    if given.count:
        print(json.dumps(count_typed(), indent=1, sort_keys=True))
        return 0
    try:
        for run in [] if given.pages else runs:
            state = state_of(run, shared, given.threads)
            print(f"{run.name}: {state}", flush=True)
            if not given.list and state != "done":
                done = not missing(run, shared) and measure(run, shared, given.threads, given.work.resolve())
                print(f"{run.name}: {'measured' if done else 'NOT MEASURED'}", flush=True)
                right &= done
        if not given.list:
            print("\n".join(f"rewrote {name}" for name in rewrite()))
    except (FoldmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
