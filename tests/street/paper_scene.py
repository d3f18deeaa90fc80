"""Small pairs with known structure: roads drawn into crops, and a ring that sees a road's colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foldmap.geometry import SE2, Camera
from foldmap.street.graph.chains import resample
from foldmap.street.images.observation import AerialCrop, CameraRing, RingFrame, StreetPair
from foldmap.street.source import LINK, LaneGraph
from foldmap.types import ByteArray


def crossing(random: np.random.Generator) -> LaneGraph:
    """A lane ahead, bent, and one across that a link leads into, vertices 1 m apart."""
    bend, side = random.uniform(-0.6, 0.6), random.uniform(-14, 14)
    x = np.linspace(-20, 20, 21)
    ahead = np.stack([x, np.clip(bend * x * np.abs(x) / 20, -20, 20)], 1)
    across = np.stack([np.full(11, side), np.linspace(-20, 20, 11)], 1)
    if random.random() < 0.5:
        across = across[::-1].copy()
    graph = LaneGraph.from_polylines([ahead, across])
    edges = np.concatenate([graph.edges, [[5, 21 + 8]]])
    kind = np.append(graph.kind, LINK).astype(np.uint8)
    return resample(LaneGraph(graph.vertices_m, edges, kind), 1.0)


def drawn(graph: LaneGraph, side_px: int = 64) -> ByteArray:
    """The vertices of a graph as light dots on dark ground, row 0 ahead, column 0 left."""
    image = np.full((side_px, side_px, 3), 40, np.uint8)
    at = np.clip(((20 - graph.vertices_m) / 40 * side_px).astype(int), 0, side_px - 1)
    image[at[:, 0], at[:, 1]] = 230
    return image


def crops(count: int, seed: int, places: int = 2) -> Iterator[StreetPair]:
    """Aerial pairs."""
    random = np.random.default_rng(seed)
    for number in range(count):
        graph = crossing(random)
        yield StreetPair(AerialCrop(drawn(graph)), graph, f"place_{seed}_{number % places}", SE2(number, 0, 0))


def ring(cameras: int = 3) -> CameraRing:
    """Cameras evenly around, of different sizes."""
    poses = np.tile(np.eye(4), (cameras, 1, 1))
    for number in range(cameras):
        yaw = 2 * np.pi * number / cameras
        ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
        poses[number, :3, :3] = np.stack([-left, [0, 0, -1], ahead], 1)
        poses[number, :3, 3] = [1.5 * np.cos(yaw), 0.5 * np.sin(yaw), 1.4]
    intrinsics = tuple(Camera("PINHOLE", 80 + 8 * n, 60, np.array([50.0, 50, 40 + 4 * n, 30])) for n in range(cameras))
    return CameraRing(tuple(f"cam_{n}" for n in range(cameras)), intrinsics, poses, -0.3)


def frame(rig: CameraRing, seed: int) -> RingFrame:
    """Noise in every camera."""
    random = np.random.default_rng(seed)
    sizes = [(camera.height_px, camera.width_px, 3) for camera in rig.cameras]
    return RingFrame(rig, tuple(random.integers(0, 256, size, dtype=np.uint8) for size in sizes))
