"""Which tables there are, and what each of them compares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foldmap.bench.visual import methods
from foldmap.bench.visual.methods import FOLDMAP, PLAIN, Line
from foldmap.bench.visual.predict import Wanted
from foldmap.errors import ConfigError


@dataclass(frozen=True)
class Sizes:
    """What the tables' rows depend on."""

    points: int  # of the scene
    dimension: int  # of its descriptors
    budgets: tuple[int, ...]  # bytes
    parts: tuple[int, ...] = (32, 16, 8, 4, 2)  # M of the product codes that are measured, most first
    weights: str = ""  # file of a learned matcher's network, or empty

    @property
    def usual(self) -> tuple[int, ...]:
        """The paper's M of table 2."""
        return tuple(part for part in (32, 4, 2) if part in self.parts)

    @property
    def one(self) -> int:
        """The paper's M of table 4, or the least there is."""
        return 4 if 4 in self.parts else self.parts[-1]


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    name: str  # of its files
    title: str  # heading
    caption: str  # what it shows
    lines: Callable[[Sizes], list[Line]]  # its rows, by sizes
    kind: str = "accuracy"  # "accuracy", "memory" or "scenes"

    def rows(self, sizes: Sizes, prefixes: Sequence[str] = ()) -> list[Line]:
        """Rows whose codes fit the descriptors, and whose map's name starts with one of the prefixes."""
        return [
            line
            for line in self.lines(sizes)
            if (not line.spec.parts or sizes.dimension % line.spec.parts == 0)
            and (not prefixes or line.spec.name.startswith(tuple(prefixes)))
        ]


TABLES: dict[str, Table] = {
    "1": Table(
        "table1",
        "Table 1: product codes against fewer points",
        "Each PQ row keeps all points; the Gamma row below it keeps so many points with raw descriptors that "
        "descriptors take the same bytes. Codebooks and decoder are in the bytes of the file alone.",
        lambda sizes: methods.equal_bytes(sizes.points, sizes.dimension, sizes.parts),
    ),
    "2": Table(
        "table2",
        "Table 2: extreme budgets",
        "As in the paper, the budget of PQ + Gamma and of D-PQED is for codes alone: xyz, codebooks and decoder come "
        "on top and show in the file's bytes. The budgets of simple and foldmap are for everything.",
        lambda sizes: methods.extreme_budget(sizes.budgets, sizes.usual),
    ),
    "3": Table(
        "table3",
        "Table 3: total memory",
        "Bytes by what they are for, of the file as it lies on disk; hloc's row is descriptors of tracks alone. Simple "
        "counts 6 bytes of xyz a point, codes and codebook, and nothing else.",
        lambda sizes: methods.memory_accounting(sizes.budgets),
        "memory",
    ),
    "4": Table(
        "table4",
        "Table 4: what each part of the layer gives",
        "All points are kept. Decoder rows train a decoder behind plain PQ's codebooks; d-pqed trains both. Symmetric: "
        "the query's descriptors go through codebooks and decoder, too.",
        lambda sizes: methods.ablation(sizes.one),
    ),
    "s1": Table(
        "losses",
        "Supplementary table 1: losses",
        "D-PQED layers of the same shape, trained with different losses.",
        lambda sizes: methods.losses(sizes.one),
    ),
    "s2": Table(
        "matchers",
        "Supplementary table 2: matchers",
        "nn: every nearest neighbour; mutual: nearest both ways; plain: nearest with ratio 0.85; mutual-ratio: both. "
        "Those match and solve once. foldmap looks again with the pose in hand and judges its answer; "
        "learned (where weights are given): a network of the "
        "LightGlue family on the images that retrieval finds, then the same.",
        lambda sizes: methods.matchers(sizes.one, sizes.weights),
    ),
    "select": Table(
        "selection",
        "Which points to keep",
        "The paper's Gamma, greedy K-cover, foldmap's spread, the longest tracks, and chance; raw descriptors.",
        lambda sizes: methods.selections(sizes.points),
    ),
    "scenes": Table(
        "scenes",
        "Supplementary tables 3 and 4: scene by scene",
        "Median error / median rotation error [°] / share within the widest threshold [%], with foldmap's localizer "
        "and with the plain one.",
        lambda sizes: methods.per_scene(sizes.parts),
        "scenes",
    ),
}


def chosen_tables(names: Sequence[str]) -> dict[str, Table]:
    """Tables by name; all where no name is given. Raises ConfigError: there is no such table."""
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise ConfigError(f"there is no table {unknown[0]!r}", f"choose among {', '.join(TABLES)}")
    return {name: table for name, table in TABLES.items() if not names or name in names}


def wanted_by(lines: Sequence[Line]) -> list[Wanted]:
    """Maps and matchers that rows need."""
    return [
        (line.spec, matcher)
        for line in lines
        for matcher in ((line.matcher,) if line.matcher is not None else (FOLDMAP, PLAIN))
    ]
