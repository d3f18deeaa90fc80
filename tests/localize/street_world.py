"""Streets with an embedding that a plain blurred raster makes: what an ideal model would see, and noise on demand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import LanePlaces, lane_places, turn_between
from foldmap.street.graph.chains import resample
from foldmap.street.source import LANE, LINK, LaneGraph
from foldmap.town.lanes import lane_graph
from foldmap.town.plan import TownPlan

SIDE, HALF_M, DIM = 14, 20.0, 192


def town_graph(seed: int, half_m: float) -> LaneGraph:
    town = lane_graph(TownPlan(seed), -half_m, -half_m, half_m, half_m)
    points, edges, kinds, ends = [], [], [], {}
    for key, lane in town.lanes.items():
        first = sum(map(len, points))
        points.append(lane.points_m)
        run = np.arange(first, first + len(lane.points_m))
        edges += list(itertools.pairwise(run))
        kinds += [LANE] * (len(run) - 1)
        ends[key] = run[0], run[-1]
    for key, following in town.successors.items():
        for after, curve in following:
            first = sum(map(len, points))
            points.append(curve)
            run = [ends[key][1], *range(first, first + len(curve)), ends[after][0]]
            edges += list(itertools.pairwise(run))
            kinds += [LINK] * (len(run) - 1)
    return LaneGraph(np.concatenate(points), np.array(edges, np.int64), np.array(kinds, np.uint8))


def aerial_graph(folder: Path, tile: int) -> LaneGraph:
    with np.load(folder / "street" / "aerial" / f"tile_{tile}_graph.npz", allow_pickle=False) as stored:
        vertices = stored["nodes_px"] * [1.0, -1.0] / 8.0 + [0.0, 512.0]
        rows = np.unique(stored["edges"].astype(np.int64), axis=0)
    rows = rows[rows[:, 0] != rows[:, 1]]
    _, first = np.unique(rows[:, :2], axis=0, return_index=True)
    rows = rows[first]
    return LaneGraph(vertices.astype(np.float64), rows[:, :2].copy(), rows[:, 2].astype(np.uint8))


class Rasterizer:
    """Embeds the window around a pose: lane metres in 14 x 14 cells and four directions, projected at random."""

    def __init__(self, graph: LaneGraph) -> None:
        fine = resample(graph, 1.0)
        ends = fine.vertices_m[fine.edges]
        self._middle = ends.mean(1)
        along = ends[:, 1] - ends[:, 0]
        self._heading = np.arctan2(along[:, 1], along[:, 0])
        self._tree = cKDTree(self._middle)
        self._project = np.random.default_rng(7).standard_normal((SIDE * SIDE * 4, DIM)) / np.sqrt(DIM)

    def __call__(self, poses: list[SE2]) -> np.ndarray:
        rasters = np.zeros((len(poses), 4, SIDE + 2, SIDE + 2))
        near = self._tree.query_ball_point([(p.x_m, p.y_m) for p in poses], HALF_M * 1.5)
        for raster, pose, ids in zip(rasters, poses, near, strict=True):
            local = pose.inverse().apply(self._middle[ids])
            cell = (local + HALF_M) / (2 * HALF_M / SIDE) + 0.5
            inside = ((cell >= 0) & (cell < SIDE + 1)).all(1)
            cell, turn = cell[inside], turn_between(pose.heading_rad, self._heading[ids][inside]) % (2 * np.pi)
            low, way = np.floor(cell).astype(int), np.floor(turn / (np.pi / 2)).astype(int)
            part, share = cell - low, turn / (np.pi / 2) - way
            for corner in np.ndindex(2, 2, 2):
                weight = np.abs(1 - corner[0] - part[:, 0]) * np.abs(1 - corner[1] - part[:, 1])
                weight = weight * np.abs(1 - corner[2] - share)
                np.add.at(raster, ((way + corner[2]) % 4, low[:, 0] + corner[0], low[:, 1] + corner[1]), weight)
        rows = np.sqrt(rasters[:, :, 1:-1, 1:-1]).reshape(len(poses), -1) @ self._project
        return unit(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


def noisy(rows: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Cosine to the true row is about 1 / sqrt(1 + noise ** 2)."""
    return unit(rows + rng.standard_normal(rows.shape) * noise / np.sqrt(rows.shape[-1]))


@dataclass(frozen=True)
class Streets:
    graph: LaneGraph
    places: LanePlaces
    raster: Rasterizer
    embeddings: np.ndarray


def streets(graph: LaneGraph) -> Streets:
    places, raster = lane_places(graph, 2.0), Rasterizer(graph)
    return Streets(graph, places, raster, raster(places.poses()))


def drive(graph: LaneGraph, rng: np.random.Generator, frames: int, step_m: float = 5.0) -> list[SE2]:
    """Poses every `step_m` along a random walk over the graph, off the centre line as drivers are."""
    fine = resample(graph, 1.0)
    ends = fine.vertices_m[fine.edges]
    following = [np.flatnonzero(fine.edges[:, 0] == b) for b in range(len(fine))]
    for _ in range(200):
        edge = int(rng.integers(len(fine.edges)))
        done, path = 0.0, []
        while done < frames * step_m + 2:
            a, b = ends[edge]
            path.append((done, *a, np.arctan2(*(b - a)[::-1])))
            done += float(np.hypot(*(b - a)))
            choices = [e for e in following[fine.edges[edge, 1]] if fine.edges[e, 1] != fine.edges[edge, 0]]
            if not choices:
                break
            edge = int(rng.choice(choices))
        else:
            arc, x, y, _ = np.array(path).T
            at = np.arange(frames) * step_m
            px, py = np.interp(at, arc, x), np.interp(at, arc, y)
            nx, ny = np.interp(at + 1, arc, x), np.interp(at + 1, arc, y)
            heading = np.arctan2(ny - py, nx - px)
            offset = np.clip(np.cumsum(rng.normal(0, 0.15, frames)), -0.6, 0.6)
            wobble = rng.normal(0, 0.02, frames)
            return [
                SE2(float(a - o * np.sin(h)), float(b + o * np.cos(h)), float(h + w))
                for a, b, h, o, w in zip(px, py, heading, offset, wobble, strict=True)
            ]
    raise AssertionError("no lane is long enough")


def odometry(poses: list[SE2], rng: np.random.Generator) -> list[SE2 | None]:
    """Increments between poses with 2 % and 0.5 degrees of noise; None first."""
    found: list[SE2 | None] = [None]
    for before, after in itertools.pairwise(poses):
        u = before.inverse() @ after
        scale = 1 + rng.normal(0, 0.02)
        found.append(SE2(u.x_m * scale, u.y_m * scale, u.heading_rad + rng.normal(0, 0.009)))
    return found


def error(guess: SE2, truth: SE2) -> tuple[float, float]:
    """Metres and radians."""
    turn = abs(float(turn_between(truth.heading_rad, guess.heading_rad)))
    return float(np.hypot(guess.x_m - truth.x_m, guess.y_m - truth.y_m)), turn
