"""The list of runs: every row of the scoreboard, each alone, with what it reads and how often it is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.context import Row
from benchmarks.scoreboard import ROWS, row_modules, rows_of

READS = {
    "lidar": ("data/lidar",), "visual": ("data/visual",), "street": ("data/street",),
    "trust": ("data/lidar", "data/visual"), "journey": ("data/joint", "data/lidar"), "world": ("data/visual",),
    "cases": ("cases",), "house": (),
}  # fmt: skip
"""What each layer's rows read, below the folder of recordings."""
ALSO = {"house": ("src", "tests", "README.md")}
"""Parts of the repository that rows look at byte by byte."""
SCENES = ("redkitchen", "bonsai")
MAPS = (*(f"{scene}:{one}" for scene in SCENES for one in ("sift:60", "xfeat:150")), "redkitchen:sift:15")
PHOTOS = tuple(word for one in MAPS for word in ("--photo-map", one))
FEATURES_AND_SIZES = (*PHOTOS, "--queries", "18")
ASKED_ALL = ("trust-photos", "trust-changed-photos", "trust-focal")
ASKED_RIGHT = ("trust-right-photos", "trust-sigma", "trust-level")
BONSAI = ("1", "2", "4", "s1", "s2", "select", "scenes")
MORE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ASKED_RIGHT, PHOTOS),
    **dict.fromkeys(ASKED_ALL, FEATURES_AND_SIZES),
    **{f"visual-paper-bonsai-{table}": ("--queries", "18") for table in BONSAI},
    **{f"street-paper-{table}": ("--street-steps", "320") for table in ("main", "modal", "size")},
    "world-requests": ("--minutes", "10"),
    "journey-everywhere": ("--starts", "60", "--side", "400"),
    "journey-cuts": ("--gap", "30", "--side", "360"),
}
"""What runs are asked besides: rows that would take a day ask less, one that asks on for a while asks on."""
LEARNED = ("xfeat", "aliked")
"""Features whose networks are read, too."""
BESIDES = {"trust-street-photos": ("data/joint",), **dict.fromkeys((*ASKED_ALL, *ASKED_RIGHT), ("weights",))}
"""Recordings that a run reads besides its layer's."""
for _scene, _queries in zip(SCENES, ("30", "18"), strict=True):
    for _feature in LEARNED:
        MORE |= {f"visual-paper-{_scene}-{_feature}-{table}": ("--queries", _queries) for table in ("1", "s2")}
SEEDS: dict[str, int] = {f"visual-paper-redkitchen-{table}": 3 for table in ("1", "s1", "s2")}
"""Runs that are repeated with seeds 0, 1 and so on: of codebooks and of training."""


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: of its results file: LAYER-ROW.
        layer, row: of the scoreboard.
        module: that measures.
        reads: folders below that of the recordings.
        also: parts of the repository that it depends on besides.
        seeds: how many.
        more: options of the scoreboard besides.
    """

    name: str
    layer: str
    row: str
    module: str
    reads: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    seeds: int = 1
    more: tuple[str, ...] = ()

    def options(self, seed: str) -> list[str]:
        """Of the scoreboard."""
        asked = ["--layer", self.layer, "--only", self.row, *self.more]
        return [*asked, *(["--seed", seed] if self.seeds > 1 else [])]

    @property
    def command(self) -> str:
        """As a person types it."""
        return " ".join(["python -m benchmarks.scoreboard", *self.options("{seed}")])


def all_runs() -> list[Run]:
    """Every row of every layer."""
    modules = [(layer, module) for layer in ROWS for module in row_modules(layer)]
    return [_run(layer, module, row) for layer, module in modules for row in rows_of(layer, module)]


def _run(layer: str, module: str, row: Row) -> Run:
    name = f"{layer}-{row.name}"
    weights = ("weights",) if any(f"-{feature}" in name for feature in LEARNED) else ()
    reads = READS[layer] + BESIDES.get(name, ()) + weights
    also, seeds, more = ALSO.get(layer, ()), SEEDS.get(name, 1), MORE.get(name, ())
    return Run(name, layer, row.name, module, reads, also, seeds, more)


def chosen_runs(words: Sequence[str]) -> list[Run]:
    """Runs by name, or by the beginning of it; all where no word is given."""
    runs = all_runs()
    return [run for run in runs if not words or any(run.name.startswith(word) for word in words)]
