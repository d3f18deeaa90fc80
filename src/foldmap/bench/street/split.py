"""Which street maps are learned from and which are asked about, and how far apart the two really are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from foldmap.errors import ConfigError
from foldmap.formats.crs import to_lonlat
from foldmap.street.graph.window import Window
from foldmap.street.source import StreetMap
from foldmap.types import AnyArray, BoolArray, DoubleArray

SPLITS = ("place", "city", "leaky")
CITY_M = 50_000.0
"""Maps whose middles are nearer than this, or linked by such steps, are one city."""
LEAKY = "LEAKY SPLIT: queries lie among the training places; these figures are no results"
_ASKED_SHARE = 0.25


@dataclass(frozen=True)
class Split:
    """Names of maps by what they are for: to learn from and retrieve, and to ask; the same ones in a leaky split."""

    by: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def leaky(self) -> bool:
        """Whether queries lie among the training places by intent."""
        return self.by == "leaky"


@dataclass(frozen=True)
class Distances:
    """How far queries are from the nearest training place, float64 (Q,).

    NaN where the two are on different maps and one of them is nowhere on Earth. `leaky`: by intent.
    """

    nearest_m: DoubleArray
    leaky: bool = False

    @property
    def known(self) -> DoubleArray:
        """Those that could be computed."""
        return self.nearest_m[np.isfinite(self.nearest_m)]

    def __str__(self) -> str:
        """One sentence for the head of a table."""
        unknown = len(self.nearest_m) - len(self.known)
        parts = []
        if len(self.known):
            parts.append(f"{_metres(self.known.min())} to {_metres(self.known.max())}")
            parts[-1] += f", median {_metres(float(np.median(self.known)))}"
        if unknown:
            parts.append(f"unknown, different maps, for {unknown} of {len(self.nearest_m)}")
        said = f"From a query to the nearest training place: {'; '.join(parts) or 'no query'}."
        return f"{LEAKY}. {said}" if self.leaky else said


def split_maps(maps: Sequence[StreetMap], by: str = "place", hold_out: Sequence[str] = (), seed: int = 0) -> Split:
    """Choose the maps that queries come from.

    Args:
        maps: all there are.
        by: "place" holds single maps out; "city" holds out all maps of a city; "leaky" none, whatever `hold_out` says.
        hold_out: names of maps; by "city" their cities. Where empty, drawn: by place one map of each city that has
            several, or a quarter of the maps where none has; by city one city.
        seed: of that draw.
    """
    if by not in SPLITS:
        raise ConfigError(f"there is no split by {by!r}", f"choose among {', '.join(SPLITS)}")
    names = tuple(street.name for street in maps)
    unknown = [name for name in hold_out if name not in names]
    if unknown:
        raise ConfigError(f"there is no map {unknown[0]!r} to hold out", f"there is {', '.join(names)}")
    if by == "leaky":
        return Split(by, names, names)
    city = cities(maps)
    rng = np.random.default_rng(seed)
    chosen = set(hold_out) or _drawn(names, city, by, rng)
    if by == "city":
        taken = {city[name] for name in chosen}
        chosen = {name for name in names if city[name] in taken}
    train = tuple(name for name in names if name not in chosen)
    if not train or not chosen:
        held = f"{len(chosen)} of {len(names)} maps are held out"
        raise ConfigError(f"split by {by}, {held}", "give more maps, or hold out others")
    return Split(by, train, tuple(name for name in names if name in chosen))


def _drawn(names: Sequence[str], city: Mapping[str, int], by: str, rng: np.random.Generator) -> set[str]:
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(city[name], []).append(name)
    if by == "city":
        return set(list(groups.values())[int(rng.integers(len(groups)))]) if len(groups) > 1 else set()
    several = [group for group in groups.values() if len(group) > 1]
    if several:
        return {group[int(rng.integers(len(group)))] for group in several}
    count = max(1, round(_ASKED_SHARE * len(names))) if len(names) > 1 else 0
    return {names[k] for k in rng.permutation(len(names))[:count].tolist()}


def cities(maps: Sequence[StreetMap]) -> dict[str, int]:
    """A number a city: maps on Earth that are linked by steps below 50 km; a map that is nowhere is its own."""
    middles = np.full((len(maps), 3), np.nan)
    for row, street in enumerate(maps):
        middle = _on_earth(street, street.graph.vertices_m.mean(0)[None]) if len(street.graph) else None
        if middle is not None:
            middles[row] = middle[0]
    label = connected_components(csr_array(cdist(middles, middles) < CITY_M), directed=False)[1]
    return {street.name: int(number) for street, number in zip(maps, label, strict=True)}


def distances(
    maps: Mapping[str, StreetMap],
    query_maps: Sequence[str],
    query_xy_m: DoubleArray,
    training_xy_m: Mapping[str, DoubleArray],
    leaky: bool = False,
) -> Distances:
    """Distance from each query, float64 (Q, 2) in its map's frame, to the nearest training place, real coordinates.

    On one map metres of its frame; between maps on Earth the straight line between the two places; NaN for a query that
    shares a map with no training place, where it or any training map is nowhere on Earth.
    """
    placed = {name: _on_earth(maps[name], xy) for name, xy in training_xy_m.items() if len(xy)}
    earth = [points for points in placed.values() if points is not None]
    tree = cKDTree(np.concatenate(earth)) if earth else None
    nearest = np.full(len(query_xy_m), np.nan)
    of_map = np.asarray(query_maps)
    for name in dict.fromkeys(query_maps):
        rows = np.flatnonzero(of_map == name)
        own = training_xy_m.get(name, np.zeros((0, 2)))
        least = cKDTree(own).query(query_xy_m[rows])[0] if len(own) else np.full(len(rows), np.inf)
        points = _on_earth(maps[name], query_xy_m[rows])
        others_known = points is not None and len(earth) == len(placed)
        if points is not None and tree is not None:
            least = np.minimum(least, tree.query(points)[0])
        nearest[rows] = np.where(np.isfinite(least) & (others_known | (len(own) > 0)), least, np.nan)
    return Distances(nearest, leaky)


def check_disjoint(found: Distances, window: Window) -> BoolArray:
    """Which queries' windows can overlap a training window; none may (ConfigError) but in a leaky split."""
    least = 2.0 * window.radius_m
    near: BoolArray = found.nearest_m < least - 1e-6
    if near.any() and not found.leaky:
        raise ConfigError(
            f"{int(near.sum())} of {len(near)} queries lie within a window ({least:.0f} m) of a training place, the "
            f"nearest {float(np.nanmin(found.nearest_m)):.1f} m: the split leaks",
            "hold out other maps, or ask for --split leaky by name",
        )
    return near


def _on_earth(street: StreetMap, xy_m: AnyArray) -> DoubleArray | None:
    """Places of a map in metres from the middle of the Earth (WGS84), (N, 3); None where the map is nowhere."""
    if street.crs is None:
        return None
    longitude, latitude = to_lonlat(xy_m, street.crs).T
    from_middle = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    return np.stack(from_middle.transform(longitude, latitude, np.zeros(len(longitude))), 1)


def _metres(value: float) -> str:
    return f"{value / 1000:,.0f} km" if value >= 10_000 else f"{value:,.0f} m"
