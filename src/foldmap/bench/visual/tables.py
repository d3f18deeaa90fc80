"""Which tables there are, what each of them compares, and how answers become their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.bench.visual import methods
from foldmap.bench.visual.methods import FOLDMAP, PLAIN, Line, MatcherOfMethod
from foldmap.bench.visual.predict import Measured, Wanted
from foldmap.bench.visual.protocol import HeldOut, Scale
from foldmap.errors import ConfigError
from foldmap.metrics.camera_pose import CameraErrors, Threshold, accuracy, camera_errors, median_errors


@dataclass(frozen=True)
class Sizes:
    """What the tables' rows depend on."""

    points: int  # of the scene
    dimension: int  # of its descriptors
    budgets: tuple[int, ...]  # bytes
    parts: tuple[int, ...] = (32, 16, 8, 4, 2)  # M of the product codes that are measured, most first
    weights: str = ""  # file of a learned matcher's network, or empty
    feature: str = "sift"  # of the scene
    decoder_parts: int = 0  # M of a trained layer that is adapted; 0 where there is none

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
        lambda sizes: methods.equal_bytes(sizes.points, sizes.dimension, sizes.parts, sizes.feature),
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
        "Bytes by what they are for, of the file as it lies on disk; the row of all observations is descriptors alone. "
        "Simple counts 6 bytes of xyz a point, codes and codebook, and nothing else.",
        lambda sizes: methods.memory_accounting(sizes.budgets, sizes.feature),
        "memory",
    ),
    "4": Table(
        "table4",
        "Table 4: what each part of the layer gives",
        "All points are kept. Decoder rows train a decoder behind plain PQ's codebooks; d-pqed trains both. Symmetric: "
        "the query's descriptors go through codebooks and decoder, too.",
        lambda sizes: methods.ablation(sizes.one, sizes.feature),
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
        lambda sizes: methods.per_scene(sizes.parts, sizes.feature, sizes.decoder_parts),
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


PARTS = ("codes", "geometry", "visibility", "images", "retrieval", "codebooks", "decoder", "rest")
_SIZES = {"points": "points", "file_bytes": "file [B]", "code_bytes": "descriptors [B]", "codebook_bytes": "codec [B]"}


def errors_of(measured: Measured, held_out: HeldOut) -> CameraErrors:
    """Errors of all queries, in the protocol's unit and degrees."""
    poses = [answer.camera_SE3_world for answer in measured.answers]
    return camera_errors(list(held_out.truth), poses, held_out.scale.world)


def row_of(
    line: Line, found: Mapping[Wanted, Measured], held_out: HeldOut, thresholds: Sequence[Threshold]
) -> dict[str, Any]:
    """One row: the map's bytes, then how the line's localizer, or foldmap's and the plain one, fare in it."""
    ways = [(line.matcher, "")] if line.matcher else [(FOLDMAP, ""), (PLAIN, "plain_")]
    first = found[line.spec, ways[0][0]]
    row: dict[str, Any] = {"method": line.label, "map": line.spec.name}
    if first.problem:
        return {**row, "problem": first.problem}
    row |= {
        "points": first.points,
        "file_bytes": first.file_bytes,
        "code_bytes": first.code_bytes,
        "codebook_bytes": first.parts.get("codebooks", 0) + first.parts.get("decoder", 0),
        **{f"{part}_bytes": first.parts.get(part) for part in PARTS if part != "codes"},
    }
    for matcher, prefix in ways:
        row |= _scored(found[line.spec, matcher], held_out, thresholds, prefix)
    return row


def _scored(measured: Measured, held_out: HeldOut, thresholds: Sequence[Threshold], prefix: str) -> dict[str, Any]:
    errors = errors_of(measured, held_out)
    centre, turn_deg = median_errors(errors)
    scored: dict[str, Any] = {
        f"{prefix}within_{number}_pct": 100.0 * accuracy(errors, threshold)
        for number, threshold in enumerate(thresholds, start=1)
    }
    wrong = [
        answer.status == "ok" and not error <= 20.0 * thresholds[-1][0]
        for answer, error in zip(measured.answers, errors.centre, strict=True)
    ]
    return scored | {
        f"{prefix}median": centre,
        f"{prefix}median_deg": turn_deg,
        f"{prefix}answered_pct": 100.0 * float(np.isfinite(errors.centre).mean()),
        f"{prefix}lost_ok": int(sum(wrong)),
        f"{prefix}cpu_ms": 1000.0 * float(np.median([answer.cpu_s for answer in measured.answers])),
    }


def columns_of(scale: Scale, thresholds: Sequence[Threshold], ways: Sequence[MatcherOfMethod | None]) -> dict[str, str]:
    """Key -> heading of an accuracy table; the plain localizer's columns only where rows have them."""
    columns = {"method": "map", **_SIZES}
    both = any(way is None for way in ways)
    for prefix, said in (("", ""), ("plain_", "plain: "))[: 2 if both else 1]:
        for number, threshold in enumerate(thresholds, start=1):
            columns[f"{prefix}within_{number}_pct"] = said + scale.label(threshold)
        columns[f"{prefix}median"] = f"{said}median [{scale.name}]"
        columns[f"{prefix}median_deg"] = f"{said}median [°]"
    return columns | {"cpu_ms": "CPU a query [ms]"}


def memory_columns(scale: Scale, thresholds: Sequence[Threshold]) -> dict[str, str]:
    """Key -> heading of table 3."""
    headings = {"method": "map", "points": "points", "file_bytes": "file [B]", "code_bytes": "descriptors"}
    headings |= {"geometry_bytes": "xyz"}
    headings |= {f"{part}_bytes": part for part in PARTS if part not in ("codes", "geometry")}
    named = {f"within_{n}_pct": scale.label(t) for n, t in enumerate(thresholds, start=1)}
    return headings | named | {"median": f"median [{scale.name}]", "median_deg": "median [°]"}


def scene_cell(row: Mapping[str, Any], thresholds: Sequence[Threshold]) -> str:
    """``0.03/0.93/76.8``: median, median in degrees, and the share within the widest threshold, as the paper has it."""
    if "median" not in row:
        return "–"  # noqa: RUF001 - the dash of a table
    return f"{row['median']:.2f} / {row['median_deg']:.2f} / {row[f'within_{len(thresholds)}_pct']:.1f}"
