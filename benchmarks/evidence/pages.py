r"""Documents' tables and figures made from results files, and how many figures stand in documents without one.

A table stands between ``<!-- evidence: NAME [table=TABLE] -->`` and ``<!-- end of evidence -->``; NAME is a run's. One
figure stands in a sentence after ``<!-- NAME: LINE | FORMAT -->`` up to ``<!-- . -->``: LINE is the scoreboard's, or a
method of a paper's table with ``/ KEY`` of its details; FORMAT is Python's, as ``{:.1f} cm``. In a row of a table the
bar is written ``\|``, which `filled` sees to: a bare one would end the cell. What is asked, and how, stands between
``<!-- protocol -->`` and ``<!-- end of protocol -->``: nothing in there was measured. What is computed from several
results stands between ``<!-- computed: NAME -->``, of `COMPUTED`, and ``<!-- end of computed -->``.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.evidence.papers import PAPERS, paper_table
from benchmarks.evidence.results import RESULTS, Results, line_of, read_results
from benchmarks.evidence.roads import roads_table
from benchmarks.evidence.runs import all_runs
from benchmarks.evidence.seals import ROOT
from benchmarks.lines import number
from foldmap.errors import ConfigError

PAGES = ("README.md", *(f"docs/{name}.md" for name in ("benchmarks", "findings", "scale")))
"""Pages that tell measured figures. The others define: their figures are parameters, sizes of formats and limits."""
UNMEASURED = "Without a results file yet: `make evidence ONLY={}`."
TYPED = Path(__file__).with_name("typed.json")
"""Page -> figures in it that no results file stands behind; `make evidence` lowers these, and never raises one."""

COMPUTED: dict[str, Callable[[Path], list[str]]] = {
    "roads": roads_table,
    **{f"papers-{name}": partial(paper_table, name) for name in PAPERS},
}
"""Name -> lines of a table, from the folder of results."""
_MADE = re.compile(r"(<!-- computed: (\S+) -->\n)(.*?)(<!-- end of computed -->)", re.DOTALL)
_BLOCK = re.compile(r"(<!-- evidence: (\S+?)(?: table=(\S+))? -->\n)(.*?)(<!-- end of evidence -->)", re.DOTALL)
_ONE = re.compile(r"(<!-- ([\w-]+): ([^|<]+?)(?: / (\w+))? \\?\| ([^|<]+?) -->)(.*?)(<!-- \. -->)")
_ASKED = re.compile(r"<!-- protocol -->.*?<!-- end of protocol -->|^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(r"(?<![<>]= )(?<![\w.])\d[\d.,]*\s?(%|[mkcnu]?m2?|m?s|Hz|[kKMG]?i?B|bit/m2|degrees?|°)(?!\w)")
_COLUMNS = {
    "method": "map",
    "points": "points",
    "code_bytes": "descriptors, B",
    "codebook_bytes": "codec, B",
    "file_bytes": "file, B",
    "within_1_pct": "tight, %",
    "within_2_pct": "(2, 2), %",
    "median": "median, cm or % of the radius",
    "plain_within_1_pct": "one pass: tight, %",
    "plain_within_2_pct": "one pass: (2, 2), %",
    "cell": "median / degrees / widest, %",
    "plain": "one pass: the same",
    "library": "library",
    "count": "graphs",
    "more": "without images",
    "way_pct": "way, %",
    "chamfer_m": "Chamfer, m",
    "rand_loss": "RandLoss",
    "mmd": "MMD",
    "density_error": "density",
    "reach_error_m": "reach, m",
    "connectivity_error": "connectivity",
    "topo_f": "topology F",
    "px_cm": "pixel, cm",
    "top9_px_pct": "top-9 px, %",
    "top1_px_pct": "top-1 px, %",
    "lateral_median_cm": "lateral, cm",
    "longitudinal_median_cm": "longitudinal, cm",
    "median_cm": "total, cm",
    "p95_cm": "95th percentile, cm",
    "beyond_50_cm_pct": "> 0.5 m, %",
    "fail_100_m_pct": "failed by 100 m, %",
    "fail_500_m_pct": "by 500 m, %",
    "fail_end_pct": "by the end, %",
    "bits_per_px": "bit/px of raster",
    "bits_per_m2": "bit/m2",
    "trained": "trained",
}


def filled(text: str, folder: Path = RESULTS) -> str:
    """A page with every marked table and figure made anew from the results files.

    A table whose run has no results file says so, with the command.

    Raises:
        ConfigError: a mark names no run, a table or a line that the run does not hold, or is a figure without results.
    """
    known = {run.name for run in all_runs()}

    def found(name: str) -> Results | None:
        if name not in known:
            raise ConfigError(f"there is no run {name}", "see python -m benchmarks.evidence --list")
        return read_results(name, folder)

    def made(mark: re.Match[str]) -> str:
        begin, name, table, _, end = mark.groups()
        results = found(name)
        lines = [UNMEASURED.format(name)] if results is None else table_of(results, table)
        return begin + "\n".join(lines) + "\n" + end

    def told(mark: re.Match[str]) -> str:
        begin, name, line, key, form, _, end = mark.groups()
        results = found(name)
        if results is None:
            raise ConfigError(f"there is no results file of {name}", f"run make evidence ONLY={name}")
        if mark.string.startswith("|", mark.string.rfind("\n", 0, mark.start()) + 1):
            begin = begin.replace(" | ", r" \| ")
        return begin + form.format(line_of(results, line, key)) + end

    def computed(mark: re.Match[str]) -> str:
        begin, name, _, end = mark.groups()
        if name not in COMPUTED:
            raise ConfigError(f"there is no computed table {name}", f"choose among {', '.join(COMPUTED)}")
        return begin + "\n".join(COMPUTED[name](folder)) + "\n" + end

    return _ONE.sub(told, _BLOCK.sub(made, _MADE.sub(computed, text)))


def table_of(results: Results, table: str | None = None) -> list[str]:
    """Lines of a table with what made it below."""
    runs = [one.figures for one in results.seeds.values()]
    if table is None:
        rows = _figures(runs)
    else:
        rows = _paper(runs, table)
        if len(rows) < 3:
            raise ConfigError(f"the results of {results.name} hold no table {table!r}", "name one that they hold")
    return [*rows, "", _told(results)]


def _figures(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The scoreboard's lines."""
    rows = ["| figure | measured | target | |", "|---|---|---|---|"]
    for same in zip(*runs, strict=True):
        first = same[0]
        if "left out by" in first["note"]:
            continue  # by the run's own command
        measured = _mean([line["measured"] for line in same])
        note = f" ({first['note']})" if first["note"] and first["measured"] is not None else ""
        verdicts = ", ".join(dict.fromkeys(line["verdict"] for line in same))
        unit = f" {first['unit']}" if first["unit"] else ""
        rows.append(f"| {first['name']}{note} | {measured}{unit} | {first['target']} | {verdicts} |")
    return rows


def _paper(runs: Sequence[Sequence[Mapping[str, Any]]], table: str) -> list[str]:
    """A table of a paper, out of the lines' details."""
    chosen = [[line["detail"] for line in run if line["detail"].get("table") == table] for run in runs]
    keys = [key for key in _COLUMNS if any(key in row for row in chosen[0])]
    rows = ["| " + " | ".join(_COLUMNS[key] for key in keys) + " |", "|---" * len(keys) + "|"]
    for same in zip(*chosen, strict=True):
        if "problem" in same[0]:
            rows.append(f"| {same[0]['method']} |{' |' * (len(keys) - 2)} {same[0]['problem']} |")
            continue
        told = [same[0]["method"], *(_mean([row.get(key) for row in same]) for key in keys if key != "method")]
        rows.append("| " + " | ".join(told) + " |")
    return rows


def _mean(values: Sequence[Any]) -> str:
    """One value, or the mean of several and, where they differ, half their range."""
    if any(value is None or isinstance(value, str) for value in values):
        return ", ".join(dict.fromkeys("" if value is None else str(value) for value in values))
    told = (
        f"{statistics.fmean(values):.0f}" if all(type(v) is int for v in values) else number(statistics.fmean(values))
    )
    spread = (max(values) - min(values)) / 2
    return told + (f" ± {number(spread)}" if spread else "")


def _told(results: Results) -> str:
    machine, seeds = results.machine, results.seeds
    seconds = " + ".join(f"{one.seconds:.0f}" for one in seeds.values())
    processor = " + ".join(f"{one.processor_s:.0f}" for one in seeds.values())
    load = max(one.load for one in seeds.values())
    return (
        f"`{results.command}`, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(seeds)}: {seconds} s by the clock, "
        f"{processor} s of processor; {machine['processor']}, {machine['cores']} cores, {machine['threads']} "
        f"thread{'s' if machine['threads'] > 1 else ''}, load {load:.1f} when it began. foldmap {results.foldmap}."
    )


def typed_figures(text: str) -> int:
    """Numbers with a unit outside marked tables, figures and protocols, and outside of code.

    Targets, which follow <= or >=, are none.
    """
    return len(_FIGURE.findall(_ASKED.sub("", _ONE.sub("", _BLOCK.sub("", _MADE.sub("", text))))))


def count_typed() -> dict[str, int]:
    """`typed_figures` of each page that is there."""
    texts = {page: ROOT / page for page in PAGES}
    return {page: typed_figures(path.read_text(encoding="utf-8")) for page, path in texts.items() if path.is_file()}


def read_typed() -> dict[str, int]:
    """The kept list."""
    return {str(page): int(count) for page, count in json.loads(TYPED.read_text(encoding="utf-8")).items()}


def rewrite(folder: Path = RESULTS) -> list[str]:
    """Make all marked tables anew, lower the list of typed figures where there are fewer; names of changed files."""
    changed, typed = [], read_typed()
    fewer = dict(typed)
    for page in PAGES:
        path = ROOT / page
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if (new := filled(text, folder)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(page)
        fewer[page] = min(typed.get(page, 0), typed_figures(new))
    if fewer != typed:
        TYPED.write_text(json.dumps(fewer, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        changed.append(str(TYPED.relative_to(ROOT)))
    return changed
