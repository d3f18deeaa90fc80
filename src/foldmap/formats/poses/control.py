"""Ground control: points that are known in two frames, and where photos were taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.hloc.results import is_results, read_results
from foldmap.formats.listing import content, is_number, plain_name
from foldmap.formats.naming import naming
from foldmap.formats.same_names import pair_names
from foldmap.formats.textual import number_rows, numbers
from foldmap.geometry.quaternion import centres_of
from foldmap.types import DoubleArray

_PLACE = "name x y z"


def read_control(path: Path, axes: str = "x y z") -> tuple[DoubleArray, DoubleArray]:
    """Pairs of points, a line each: coordinates in the frame of what is brought, then in the map's; float64 (N, D)."""
    count = len(axes.split())
    rows = [row for _, row in number_rows(path, 2 * count, f"pair of points: {axes} there, {axes} in the map")]
    if not rows:
        raise PoseInputError(f"{path} holds no pairs of points", f"give {axes} there and {axes} in the map a line")
    both = np.stack(rows)
    return both[:, :count].copy(), both[:, count:].copy()


def read_positions(path: Path, names: Sequence[str]) -> tuple[list[int], DoubleArray]:
    """Where photos were taken in the map's frame: indices of the names that are known, and float64 (N, 3).

    Lines are ``name x y z``, or whole poses ``name qw qx qy qz tx ty tz`` (camera_SE3_map, hloc). Commas separate too,
    a first line of column names is passed over; names as `pair_names`.
    """
    if is_results(path):
        poses = read_results(path)
        places = dict(zip(poses, centres_of(np.stack(list(poses.values()))), strict=True)) if poses else {}
    else:
        places = _named_places(path)
    with naming(path):
        pairs = pair_names(names, places)
    if not pairs:
        example = next(iter(places), "none")
        what = f"{path} names none of {len(names)} photos (photos like {names[0]!r}, positions like {example!r})"
        raise PoseInputError(what, "name both alike")
    found = [k for k, name in enumerate(names) if name in pairs]
    return found, np.stack([places[pairs[names[k]]] for k in found])


def _named_places(path: Path) -> dict[str, DoubleArray]:
    places: dict[str, DoubleArray] = {}
    for line, text in content(path, "a table of positions"):
        words = text.replace(",", " ").rsplit(maxsplit=3)
        if len(words) == 4 and not places and not any(is_number(word) for word in words[1:]):
            continue  # names of columns
        if len(words) != 4:
            raise PoseInputError(f"{path}, line {line}: {len(words)} columns", f"expected {_PLACE}")
        name = plain_name(words[0])
        if name in places:
            raise PoseInputError(f"{path}, line {line}: {name!r} comes twice", "keep one position a photo")
        places[name] = numbers(path, line, words[1:], _PLACE)
    return places
