"""Pairs out of ortho tiles: what they show belongs to their graphs, they are the same each time."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2, MetricGrid
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.images.observation import AerialCrop, RingFrame
from foldmap.street.images.photometric import LightChange, draw_light
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import AerialPairs, GroundTile, Jitter, RingPairs
from foldmap.street.places import sample_places
from foldmap.street.source import LINK, LaneGraph, StreetMap


def painted_tile(name: str = "painted") -> GroundTile:
    """A bend and a turn, drawn white on grey, a metre wide."""
    angle = np.linspace(0, math.pi / 2, 60)
    bend = np.stack([20 + 70 * np.sin(angle), 90 - 70 * np.cos(angle)], 1)
    straight = np.stack([np.linspace(20, 100, 30), np.full(30, 60.0)], 1)
    graph = LaneGraph.from_polylines([bend, straight], kinds=[0, LINK])
    grid = MetricGrid(0.0, 120.0, 0.125, 960, 960)
    image = np.full((960, 960, 3), 90, np.uint8)
    for line in (bend, straight):
        fine = np.concatenate([np.linspace(a, b, 60) for a, b in itertools.pairwise(line)])
        rows, columns = (grid.pixel_of(fine) + 0.5).astype(int).T
        for dr in range(-4, 5):
            for dc in range(-4, 5):
                image[rows + dr, columns + dc] = 250
    return GroundTile(GroundImage(image, grid), StreetMap(name, graph))


TILE = painted_tile()


@pytest.mark.parametrize("jitter", [None, Jitter(light=0.0)])
def test_the_graph_of_an_aerial_pair_lies_on_its_paint(jitter: Jitter | None) -> None:
    pairs = AerialPairs([TILE], 6.0, jitter=jitter)
    assert len(pairs) > 10
    for pair in pairs[::3]:
        assert isinstance(pair.observation, AerialCrop)
        ends = pair.graph.vertices_m[np.abs(pair.graph.vertices_m).max(1) < 19]
        assert len(ends) > 20
        rows, columns = ((20 - ends) / 0.25).astype(int).T
        assert pair.observation.image[rows, columns, 0].min() > 200
        assert np.median(pair.graph.edge_lengths_m) == pytest.approx(1.0, abs=0.05)
        assert pair.place == "painted"
    sides = [np.abs(pair.graph.vertices_m).min() for pair in pairs]
    assert (max(sides) > 0.05) == (jitter is not None)


def test_the_graph_of_a_ring_pair_lies_on_its_paint() -> None:
    ring = surround_ring((0.0,))
    pairs = RingPairs([TILE], ring, 12.0, width_px=400)
    for pair in pairs:
        assert isinstance(pair.observation, RingFrame)
        image = pair.observation.images[0]
        assert image is not None
        x, y = pair.graph.vertices_m.T
        near = (x > 6) & (x < 15) & (np.abs(y) < 0.5 * (x - 1.65))
        columns, rows = 200 - 328 * y[near] / (x[near] - 1.65), 150 + 328 * 1.7 / (x[near] - 1.65)
        assert image[rows.astype(int), columns.astype(int), 0].min() > 180


def test_the_same_index_gives_the_same_bytes_and_another_seed_another_pose() -> None:
    one, again, other = (AerialPairs([TILE], 6.0, jitter=Jitter(seed=seed)) for seed in (3, 3, 4))
    a, b, c = one[4], again[4], other[4]
    assert isinstance(a.observation, AerialCrop)
    assert isinstance(b.observation, AerialCrop)
    assert a.observation.image.tobytes() == b.observation.image.tobytes()
    assert a.world_SE2_ego == b.world_SE2_ego != c.world_SE2_ego
    assert one[-1].world_SE2_ego == one[len(one) - 1].world_SE2_ego
    with pytest.raises(IndexError):
        one[len(one)]


def test_jitter_stays_within_its_bounds() -> None:
    moved = AerialPairs([TILE], 6.0, jitter=Jitter(1.0, 0.0, 0.1, 0.0, 9))
    for k in range(len(moved)):
        off = moved.place(k)[1].inverse() @ moved[k].world_SE2_ego
        assert abs(off.x_m) < 1e-6
        assert abs(off.y_m) <= 1.0
        assert abs(off.heading_rad) <= 0.1


def test_light_changes_level_colour_and_noise_as_asked() -> None:
    flat = np.full((40, 60, 3), (100, 150, 50), np.uint8)
    still = LightChange(1.0, 1.0, 0.0, 1.0, (1.0, 1.0, 1.0), 0.0, 0.0, 0)
    assert np.array_equal(still(flat), flat)
    grey = LightChange(1.0, 1.0, 0.0, 0.0, (1.0, 1.0, 1.0), 0.0, 0.0, 0)(flat)
    assert np.abs(grey.astype(float) - (0.299 * 100 + 0.587 * 150 + 0.114 * 50)).max() < 1
    noisy = LightChange(1.0, 1.0, 0.0, 1.0, (1.0, 1.0, 1.0), 0.0, 0.02, 7)(flat).astype(float)
    assert noisy.std(axis=(0, 1)) == pytest.approx([5.1] * 3, rel=0.1)
    assert noisy.mean((0, 1)) == pytest.approx([100, 150, 50], abs=0.5)
    dark = LightChange(2.0, 1.0, 0.0, 1.0, (1.0, 1.0, 1.0), 0.0, 0.0, 0)(flat)
    assert dark[0, 0, 0] == round(255 * (100 / 255) ** 2)
    assert np.array_equal(draw_light(np.random.default_rng(0), 0.0)(flat), flat)


def test_errors_name_the_tile() -> None:
    with pytest.raises(ConfigError, match="painted"):
        AerialPairs([TILE, TILE])
    with pytest.raises(ConfigError, match="at least one"):
        AerialPairs([])
    small = GroundImage(TILE.ground.image[:300, :300].copy(), MetricGrid(30.0, 80.0, 0.125, 300, 300))
    with pytest.raises(ConfigError, match="edges"):
        AerialPairs([GroundTile(small, TILE.map)])
    with pytest.raises(MapInputError, match="one frame"):
        GroundTile(TILE.ground, StreetMap("elsewhere", TILE.map.graph.moved(SE2(5000.0, 0.0, 0.0))))


def test_real_tiles_traffic_keeps_right_of_its_oncoming_lane(shared_data: Path) -> None:
    """Image row 0 is north: with the flip forgotten, traffic would keep left, and lanes would leave the asphalt."""
    folder = shared_data / "street" / "aerial"
    if not (folder / "tile_24_graph.npz").is_file():
        pytest.skip("no aerial tiles")
    with np.load(folder / "tile_24_graph.npz", allow_pickle=False) as stored:
        nodes, edges = stored["nodes_px"].astype(float), stored["edges"]
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, first = np.unique(edges[:, :2], axis=0, return_index=True)
    graph = LaneGraph(
        nodes * [1, -1] / 8 + [0, 512], edges[first, :2].astype(np.int64), edges[first, 2].astype(np.uint8)
    )
    image = np.asarray(Image.open(folder / "tile_24.jpg").convert("RGB"))
    ground = GroundImage(image, MetricGrid(0.0, 512.0, 0.125, 4096, 4096))
    places = sample_places(graph, 25.0)
    lanes = places.take(graph.kind[places.edge] == 0)
    poses = np.column_stack([lanes.xy_m, lanes.heading_rad])
    left = right = 0
    for place in poses:
        off = poses[:, :2] - place[:2]
        ahead = off @ [math.cos(place[2]), math.sin(place[2])]
        aside = off @ [-math.sin(place[2]), math.cos(place[2])]
        oncoming = (np.cos(poses[:, 2] - place[2]) < -0.97) & (np.abs(ahead) < 15) & (np.abs(aside) < 12)
        left += int((oncoming & (aside > 1)).sum())
        right += int((oncoming & (aside < -1)).sum())
    assert left > 10 * max(right, 1)

    def roughness(streets: LaneGraph) -> float:
        """How much brightness changes from metre to metre along the lanes: little on asphalt."""
        steps = []
        for pair in AerialPairs([GroundTile(ground, StreetMap("tile_24", streets))], 25.0)[::8]:
            assert isinstance(pair.observation, AerialCrop)
            rows, columns = ((20 - pair.graph.vertices_m * 0.98) / 0.25).astype(int).T
            grey = pair.observation.image[rows, columns].astype(float).mean(1)
            steps.append(np.abs(np.diff(grey[pair.graph.edges], axis=1)).mean())
        return float(np.mean(steps))

    flipped = LaneGraph(graph.vertices_m * [1, -1] + [0, 512], graph.edges, graph.kind)
    assert roughness(graph) < 0.85 * roughness(flipped)
