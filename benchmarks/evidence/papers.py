"""The rows of the papers' tables, one by one: the figures of ours from a kept results file, or why there are none.

Costs that reasons name are computed: seconds a step that a run measured, times the steps of the recipe in the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.evidence.results import Results, line_of, read_results
from benchmarks.lidar.paper import LARGEST, LEVELS
from benchmarks.lines import number
from benchmarks.street.recipes import RECIPES
from foldmap.lidar.train import MODES, LidarTrainSettings

Why = Callable[[Path], str]
MATCHED = {"top9_px_pct": "top-9 {} %", "top1_px_pct": "top-1 {} %", "bits_per_px": "{} bit/px"}
DRIVEN = {
    "lateral_median_cm": "lateral {} cm", "longitudinal_median_cm": "longitudinal {} cm", "median_cm": "total {} cm",
    "fail_100_m_pct": "{} % failed by 100 m", "fail_end_pct": "{} % failed by the end", "bits_per_m2": "{} bit/m2",
}  # fmt: skip
PHOTOS = {
    "cell": "{} (median, degrees, % tight)", "plain": "in one pass {}", "within_1_pct": "{} % tight",
    "plain_within_1_pct": "in one pass {} %", "median": "median {}", "file_bytes": "file {} B",
    "code_bytes": "descriptors {} B",
}  # fmt: skip
GRAPHS = {
    "chamfer_m": "Chamfer {} m", "rand_loss": "RandLoss {}", "mmd": "MMD {}", "density_error": "density {}",
    "reach_error_m": "reach {} m", "connectivity_error": "connectivity {}", "trained": "{}",
}  # fmt: skip
SIZES = {"count": "{} graphs", **{key: told for key, told in GRAPHS.items() if key != "trained"}}
"""Keys of the kept details, and how they are told."""


@dataclass(frozen=True)
class Told:
    """Rows of a paper's table.

    Attributes:
        table: of the paper.
        row: of the table, as it is named there.
        run: whose results hold its figures; empty where no run can.
        method: of ours in the run's table, or the first that begins so; with a line break at its end the one after it.
        keys: of the details that are told; None for the lines of the method that drive with the filter.
        why: why there is no figure of ours, or none at the paper's length.
        scene: of ours, where a row is asked in several.
    """

    table: str
    row: str
    run: str = ""
    method: str = ""
    keys: dict[str, str] | None = None
    why: str | Why = ""
    scene: str = ""


def _large(folder: Path) -> str:
    """What the networks of the paper's size take."""
    results = read_results("lidar-tables-networks", folder)
    if results is None:
        return "not trained at the paper's size: `make evidence ONLY=lidar-tables-networks` says what it takes"
    step_s = line_of(results, f"{', '.join(LARGEST)}: a step of training")
    steps = LidarTrainSettings().steps
    hours = step_s * steps / 3600
    return f"at the paper's size {hours:,.0f} core-hours for each of {len(MODES)} objectives ({steps:,} steps)"


def _ring(folder: Path) -> str:
    """What the models of cameras take, at the seconds a step of the aerial one, which is the same network."""
    results = read_results("street-paper-main", folder)
    steps = sum(RECIPES[name].settings.steps for name in ("aerial", "ring", "front"))
    trained = "" if results is None else str(_detail(results, "main", "foldmap").get("trained", ""))
    found = re.search(r"(\d+) steps, (\d+) s", trained)
    if found is None:
        return f"`make evidence ONLY=street-ring`: {steps:,} steps of training"
    hours = steps * int(found[2]) / int(found[1]) / 3600
    return f"`make evidence ONLY=street-ring`: {steps:,} steps of training, {hours:.1f} core-hours"


NO_HIGHWAY = "no recording of a highway with lidar intensity is at hand"
NO_PHOTOS = "Aachen, ETH-Microsoft, Cambridge and six rooms of 7Scenes are not at hand"
NO_RIVAL = "another method's own figure, quoted by the paper; its code and models are not part of this"
NO_GLUE = "no weights of SuperPoint and SuperGlue are at hand: LighterGlue, which matches XFeat, stands for them"
NO_CITY = "Argoverse's images are not at hand; ours are of ortho tiles of four cities"
SCENES = ("redkitchen", "bonsai")


def _lidar() -> list[Told]:
    lossy = [(f"{a}-{n}", f"{b}-{n}") for a, b in (("JPG", "jpeg"), ("WebP", "webp")) for n in LEVELS]
    rows = [Told("1", "Lossless (PNG)", "lidar-tables-matching", "png16", MATCHED)]
    networks = [(mode, size) for mode in ("recon", "match") for size in ("8x", "16x")]
    short = {**MATCHED, "trained": "after {}"}
    for mode, size in networks:
        name = f"small-{size}, {mode}"
        rows.append(Told("1", f"Ours ({mode}, {size})", "lidar-tables-networks", name, short, _large))
    rows += [
        Told("1", "(the learned code that ships)", "lidar-tables-matching", "foldmap-fine", MATCHED),
        Told("1", "(marks, no network)", "lidar-tables-matching", "foldmap-marks", MATCHED),
        *(
            Told("2", theirs, "lidar-tables-online", ours, DRIVEN)
            for theirs, ours in (("Lossless (PNG)", "png16"), *lossy)
        ),
        Told("2", "Ours", "lidar-paper", "foldmap-fine"),
        Told("2", "(marks)", "lidar-paper", "foldmap-marks"),
        Told("3", "all seven", why=NO_HIGHWAY),
        *(Told("4", f"Ours ({mode}, {size}), driven", why=_large) for mode, size in networks),
    ]
    for px_cm, factor in ((10, 2), (15, 3)):
        for theirs, ours in (("PNG", "png16"), ("JPG@50", "jpeg-50")):
            rows.append(Told("6", f"{theirs}, {px_cm}cm/px", "lidar-tables-online", f"{ours}/{factor}x", DRIVEN))
    return rows


def _visual() -> list[Told]:
    rows: list[Told] = []

    def both(table: str, run: str, pairs: Sequence[tuple[str, str]]) -> None:
        for theirs, ours in pairs:
            for scene in SCENES:
                rows.append(Told(table, theirs, f"visual-paper-{scene}-{run}", ours, PHOTOS, scene=scene))

    shares = {32: "0.250", 4: "0.031", 2: "0.016"}
    gamma = [(f"Gamma, bytes of PQ{m}", f"gamma {share}, raw") for m, share in shares.items()]
    pq = [(f"PQ{m}", f"pq{m}") for m in (32, 4, 2)]
    direct = [("HLoc", "direct sift, every"), ("HLoc-avg", "direct sift, track means")]
    both("1", "1", [*direct, *(one for pair in zip(pq, gamma, strict=True) for one in pair)])
    for budget in (300, 60):
        for m in (32, 4, 2):
            name = f"pq{m}+gamma, codes of {budget}kB"
            both("2", "2", [(f"PQ{m}+Gamma, {budget} kB", name), (f"+D-PQED, {budget} kB", name + "\n")])
    rows.append(Told("3", "eleven others", why=NO_RIVAL))
    rows.append(Told("1 to 4", "the paper's recordings", why=NO_PHOTOS))
    parts = [("+ Encoder", "+ encoder"), ("+ Decoder, L2", "+ decoder, L2"), ("+ Decoder, triplet", "+ decoder, tri")]
    whole = [("+ D-PQED (symmetric)", "d-pqed, symmetric"), ("+ D-PQED", "d-pqed, learned on image")]
    both("4", "4", [("PQ (M=4)", "pq4"), *parts, *whole])
    margins = [(f"triplet (m={m})", f"d-pqed, triplet, m = {m}") for m in (0.3, 0.5, 0.9)]
    pairs = [(f"N-pair (N={n})", f"d-pqed, N-pair, N = {n}") for n in (10, 20)]
    both("s1", "s1", [("PQ4", "pq4"), ("L2", "d-pqed, L2"), *pairs, *margins])
    asked = (("HLoc-avg", "track means"), ("PQ4", "pq4"), ("D-PQED", "d-pqed"))
    both("s2", "s2", [(f"NN, {theirs}", f"{ours}, mutual") for theirs, ours in asked])
    learned = (("HLoc-avg", "track means, a byte a number"), ("PQ4", "pq4"), ("D-PQED", "d-pqed"))
    for theirs, ours in learned:
        run = "visual-paper-redkitchen-xfeat-s2"
        rows.append(Told("s2", f"SGlue, {theirs}", run, f"{ours}, learned", PHOTOS, NO_GLUE, "redkitchen, XFeat"))
    both("s3", "scenes", [(f"PQ{m}", f"pq{m}") for m in (32, 16, 8, 4, 2)])
    rows.append(Told("s3", "chess, fire, heads, office, pumpkin, stairs", why=NO_PHOTOS))
    rows.append(Told("s4", "all", why=NO_PHOTOS))
    return rows


def _street() -> list[Told]:
    main = (("PINET", "pinet"), ("TOPO-PRNN", "topo-prnn"), ("TOPO-TR", "topo-tr"), ("Pix2Map-Unimodal", "unimodal"))
    rows = [Told("main", theirs, "street-paper-main", ours, GRAPHS) for theirs, ours in main]
    rows += [
        Told("main", "Pix2Map-Single", why=_ring),
        Told("main", "Pix2Map (ours)", "street-paper-main", "foldmap", GRAPHS),
        Told("unimodal", "Unimodal", "street-paper-modal", "unimodal", GRAPHS),
        Told("unimodal", "Ours", "street-paper-modal", "foldmap, the same", GRAPHS),
        Told("unimodal", "Ours++", "street-paper-size", "all, and graphs without images", SIZES),
    ]
    sizes = ("0.0156", "0.0625", "0.25", "1", "all, and")
    rows += [Told("library", f"size {k}", "street-paper-size", one, SIZES) for k, one in enumerate(sizes, start=1)]
    return [*rows, Told("library", "PIT and MIA by themselves", why=NO_CITY)]


PAPERS: dict[str, Callable[[], list[Told]]] = {"lidar": _lidar, "visual": _visual, "street": _street}


def paper_table(paper: str, folder: Path) -> list[str]:
    """Every row of a paper's tables."""
    lines = ["| table | row | here | of |", "|---|---|---|---|"]
    for (table, row), same in groupby(PAPERS[paper](), lambda told: (told.table, told.row)):
        here, runs = zip(*(_here(told, folder) for told in same), strict=True)
        lines.append(f"| {table} | {row} | {'<br>'.join(here)} | {'<br>'.join(filter(None, runs))} |")
    return lines


def _here(told: Told, folder: Path) -> tuple[str, str]:
    """What is told of a row, and the run that it is from."""
    results = read_results(told.run, folder) if told.run else None
    why = told.why(folder) if callable(told.why) else told.why
    before = f"{told.scene}: " if told.scene else ""
    if results is None:
        return before + (why or f"not run yet: {_cost(told.run, folder)}"), ""
    return before + "; ".join(filter(None, [_figures(results, told), why])), f"`{told.run}`"


def _cost(run: str, folder: Path) -> str:
    """What a run is likely to take: as much as its like on the other scene, where there is one."""
    like = read_results(run.replace("bonsai", "redkitchen"), folder)
    took = "" if like is None else f", {like.name} took {like.seeds['0'].processor_s:.0f} s of processor"
    return f"`make evidence ONLY={run}`{took}"


def _detail(results: Results, table: str, method: str) -> dict[str, Any]:
    """The details of the method of a table, or of the first that begins so; empty where there is none."""
    name, after = method.rstrip("\n"), method.endswith("\n")
    rows = [line["detail"] for line in next(iter(results.seeds.values())).figures]
    rows = [row for row in rows if not table or row.get("table") == table]
    names = [str(row.get("method", "")) for row in rows]
    found = [k for k, one in enumerate(names) if one == name] or [
        k for k, one in enumerate(names) if one.startswith(name)
    ]
    return dict(rows[found[0] + after]) if found else {}


def _figures(results: Results, told: Told) -> str:
    if told.keys is None:
        lines = next(iter(results.seeds.values())).figures
        own = [line for line in lines if line["name"].startswith(told.method) and ", filter: " in line["name"]]
        own = [line for line in own if line["measured"] is not None]  # short drives have no segments
        said = (f"{line['name'].partition(': ')[2]} {_value(line['measured'])} {line['unit']}" for line in own)
        return ", ".join(map(str.rstrip, said)) or "no such row"
    row = _detail(results, "", told.method)
    if "problem" in row:
        return str(row["problem"])
    shown = [how.format(_value(row[key])) for key, how in told.keys.items() if row.get(key) not in (None, "")]
    return ", ".join(shown) or "no such row"


def _value(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return str(value or "")
    return f"{value:,}" if type(value) is int else number(float(value))
