"""A run read back to be shown: its answers, what it was made with, and the ground of its map."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.answers import Answers, read_answers
from foldmap.api.opened import FoldedMap
from foldmap.street.graph.chains import resample
from foldmap.types import DoubleArray

_MOST_PX, _LANE_STEP_M = 6000, 0.5
_ESTIMATES = "estimates.txt"


@dataclass(frozen=True)
class Run:
    """What ``foldmap localize`` wrote.

    Attributes:
        estimates: the file of poses, or its JSON lines.
        answers: the lines.
        settings: what was written beside; empty where there is nothing of it.
        fold_file: the map; None where nobody said, or it is gone.
    """

    estimates: Path
    answers: Answers
    settings: dict[str, Any]
    fold_file: Path | None


def estimates_of(run: Path) -> Path:
    """The poses of a run: of its folder, or as they were named."""
    return run / _ESTIMATES if run.is_dir() else run


def read_run(run: Path, fold_file: Path | None = None) -> Run:
    """Read a run: its poses, their JSON lines, or the folder of them; a PoseInputError where it is none.

    The map is the one that is given, else that of the run's settings (`_map_of`), where it still is.
    """
    estimates = estimates_of(run)
    answers, settings = read_answers(estimates), _settings(estimates)
    return Run(estimates, answers, settings, fold_file or _map_of(settings, estimates))


def map_ground(town: FoldedMap, kind: str, low: DoubleArray, high: DoubleArray) -> DoubleArray:
    """Points of a layer within a box of two corners, (M, 3) map units: bright codes, lanes, or a scene's points."""
    if kind == "visual":
        points = np.asarray(town.visual.whole().points_world, np.float64)
    elif kind == "street":
        lanes = [resample(town.street.graph(region.name), _LANE_STEP_M) for region in town.street.regions]
        points = _flat(np.concatenate([lane.vertices_m for lane in lanes]))
    else:
        points = _flat(_codes(town, low, high))
    return np.asarray(points[((points >= low) & (points <= high)).all(axis=1)])


def _map_of(settings: dict[str, Any], estimates: Path) -> Path | None:
    """The map that a run's settings name, from here or from a folder that the run lies in."""
    said = settings.get("map")
    if not isinstance(said, str):
        return None
    places = (Path(said), *(folder / said for folder in estimates.resolve().parents))
    return next((one for one in places if one.is_file()), None)


def _flat(points: DoubleArray) -> DoubleArray:
    return np.concatenate([points, np.zeros((len(points), 1))], axis=1)


def _codes(town: FoldedMap, low: DoubleArray, high: DoubleArray) -> DoubleArray:
    """Where a lidar layer has a code, east and north."""
    grid = town.lidar.grid
    width_m, height_m = grid.width_px * grid.resolution_m, grid.height_px * grid.resolution_m
    west, north = max(low[0], grid.west_m), min(high[1], grid.north_m)
    east, south = min(high[0], grid.west_m + width_m), max(low[1], grid.north_m - height_m)
    row, column = int((grid.north_m - north) / grid.resolution_m), int((west - grid.west_m) / grid.resolution_m)
    height, width = (int(side / grid.resolution_m) + 1 for side in (north - south, east - west))
    height, width = min(height, _MOST_PX, grid.height_px - row), min(width, _MOST_PX, grid.width_px - column)
    if height <= 0 or width <= 0:
        return np.zeros((0, 2))
    codes = np.asarray(town.lidar.code_image(row, column, height, width)).any(axis=0)
    step_m = height * grid.resolution_m / codes.shape[0]
    rows, columns = np.nonzero(codes)
    east_m = grid.west_m + column * grid.resolution_m + (columns + 0.5) * step_m
    north_m = grid.north_m - row * grid.resolution_m - (rows + 0.5) * step_m
    return np.stack([east_m, north_m], axis=1)


def _settings(estimates: Path) -> dict[str, Any]:
    """What ``localize`` wrote beside; empty where there is nothing of it."""
    beside = Path(f"{str(estimates).removesuffix('.jsonl')}.settings.json")
    try:
        read = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
