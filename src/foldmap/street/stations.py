"""Places along lanes, every so many metres, headed in driving direction."""

from __future__ import annotations

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.chains import chains
from foldmap.street.source import LANE, LaneGraph
from foldmap.types import DoubleArray

_CHORD_M = 1.5


def stations(graph: LaneGraph, spacing_m: float = 5.0, *, links: bool = True) -> DoubleArray:
    """Poses along every chain of a graph.

    Args:
        graph: in metres.
        spacing_m: between poses of one chain; a chain gets one pose at least, all are centred on its length.
        links: whether turning links count, or lanes only.

    Returns:
        float64 (N, 3): x, y, heading in rad of the chord 1.5 m back and ahead.

    Raises:
        ConfigError: a spacing that is not positive.
    """
    if not spacing_m > 0:
        raise ConfigError(f"places {spacing_m} m apart", "give a positive spacing")
    found = chains(graph)
    poses = [np.zeros((0, 3))]
    for c in range(len(found)):
        run = found.edge[found.offset[c] : found.offset[c + 1]]
        if graph.kind[run[0]] != LANE and not links:
            continue
        line = graph.vertices_m[np.append(graph.edges[run, 0], graph.edges[run[-1], 1])]
        arc = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
        count = max(1, int(arc[-1] // spacing_m))
        at = (np.arange(count) - 0.5 * (count - 1)) * spacing_m + 0.5 * arc[-1]
        here, back, ahead = (_along(line, arc, at + shift) for shift in (0.0, -_CHORD_M, _CHORD_M))
        chord = ahead - back
        poses.append(np.column_stack([here, np.arctan2(chord[:, 1], chord[:, 0])]))
    return np.concatenate(poses)


def pose_of(row: DoubleArray) -> SE2:
    """One row of `stations`."""
    return SE2(float(row[0]), float(row[1]), float(row[2]))


def _along(line: DoubleArray, arc: DoubleArray, at: DoubleArray) -> DoubleArray:
    return np.stack([np.interp(at, arc, line[:, k]) for k in (0, 1)], 1)
