"""A results file: what one run measured, with what it was measured on, by and with. Small JSON, kept in the repository.

A file holds the figures of each seed; a run that is stopped between seeds goes on with the next.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.evidence.seals import ROOT
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError

RESULTS = ROOT / "benchmarks" / "results"
FORMAT = 1


@dataclass(frozen=True)
class Measured:
    """Figures of one seed.

    Attributes:
        seconds: by the clock.
        processor_s: of the run's process and those it waited for.
        load: processes that wanted a core when it began, others' included.
        figures: lines of the scoreboard, as `Line.to_dict` gives them.
    """

    seconds: float
    processor_s: float
    load: float
    figures: list[dict[str, Any]]


@dataclass(frozen=True)
class Results:
    """What is kept of a run.

    Attributes:
        name: of the run.
        command: that makes the figures, with {seed} where there are several.
        inputs: hash of the recordings.
        code: hashes of the files of this repository that it used, by path, see `benchmarks.evidence.seals`; empty where
            nobody knows.
        machine: its class: kind of processor, cores, threads given, Python. No names.
        foldmap: version.
        seeds: seed -> figures.
    """

    name: str
    command: str
    inputs: str
    code: dict[str, str]
    machine: dict[str, Any]
    foldmap: str
    seeds: dict[str, Measured] = field(default_factory=dict)

    def to_json(self) -> str:
        """The file's text."""
        folders: dict[str, str] = {}  # a line a folder: two hundred files in some thirty lines
        for path, seal in sorted(self.code.items()):
            folder, _, name = path.rpartition("/")
            folders[folder] = f"{folders.get(folder, '')} {name}:{seal}".strip()
        held = _plain({"format": FORMAT, **asdict(self), "code": folders})
        return json.dumps(held, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def write(self, folder: Path = RESULTS) -> None:
        """Write the file whole, or leave the one that is there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{self.name}.json", self.to_json())


def _plain(value: Any) -> Any:
    """JSON values, as `Line.to_dict` has them: infinite is "inf", not a number is null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _named(line: str) -> list[tuple[str, str]]:
    """Files of a folder, and their hashes."""
    return [(name, seal) for name, _, seal in (one.rpartition(":") for one in line.split())]


def read_results(name: str, folder: Path = RESULTS) -> Results | None:
    """The kept results of a run; None where there are none.

    Raises:
        ConfigError: the file is no results file of this version.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held.pop("format") != FORMAT or held["name"] != name:
            raise ValueError("another format, or another run's")
        folders = held.pop("code").items()
        code = {f"{folder}/{name}".lstrip("/"): seal for folder, line in folders for name, seal in _named(line)}
        seeds = {str(seed): Measured(**one) for seed, one in held.pop("seeds").items()}
        return Results(**held, code=code, seeds=seeds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} does not hold results: {error!r}", "delete it and run make evidence") from error


def line_of(results: Results, name: str, key: str | None = None) -> float:
    """One line's figure, or one of the details of a method in a paper's table; the mean of the seeds.

    Raises:
        ConfigError: the results hold no such line, or no such number.
    """
    found = []
    for one in results.seeds.values():
        for line in one.figures:
            value = line["detail"].get(key) if key else line["measured"]
            if name == (line["detail"].get("method") if key else line["name"]) and value is not None:
                found.append(float(value))
    if len(found) != len(results.seeds):
        raise ConfigError(f"the results of {results.name} hold no {name!r} {key or ''}", "name one that they hold")
    return statistics.fmean(found)
