"""A piece of a generated town on disk: its street map, what is seen from above, and a reader that errs in nothing."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from foldmap.formats.street.geojson import write_geojson
from foldmap.formats.street.observations.ring import write_ring_file
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, cut
from foldmap.street.images.observation import AerialCrop, Observation
from foldmap.street.images.rig import surround_ring
from foldmap.street.places import sample_places
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.town.street.map import town_street_map
from foldmap.town.world import TownWorld

HALF_M = 110.0


def town_map(seed: int = 3) -> StreetMap:
    """All lanes of a square of a town."""
    return town_street_map(TownWorld(seed), -HALF_M, -HALF_M, HALF_M, HALF_M, "town")


def poses_along(graph: LaneGraph, spacing_m: float, rim_m: float = 40.0) -> list[SE2]:
    """Poses on lanes, away from the rim."""
    places = sample_places(graph, spacing_m)
    inside = np.flatnonzero((np.abs(places.xy_m) < HALF_M - rim_m).all(1))
    return [places.pose(int(k)) for k in inside]


def pose_rows(poses: Sequence[SE2], names: Sequence[str] = ()) -> str:
    """CSV of poses."""
    head = "name,x_m,y_m,heading_rad" if names else "x_m,y_m,heading_rad"
    rows = [f"{pose.x_m!r},{pose.y_m!r},{pose.heading_rad!r}" for pose in poses]
    return "\n".join(
        [head, *(f"{name},{row}" for name, row in zip(names, rows, strict=True))] if names else [head, *rows]
    )


def write_model(path: Path, with_map: bool = False) -> Path:
    """A field model with random weights."""
    torch.manual_seed(0)
    model = FieldEmbedding(FieldNetwork(FieldShape(width=8, with_map=with_map)), turns=1)
    path.write_bytes(model.payload())
    return path


def write_numbered(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Crops that show nothing but their number, in the first pixel: `PerfectReader` knows what is to be seen there."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(first, first + count):
        image = np.full((40, 40, 3), 90, np.uint8)
        image[0, 0] = number % 256, number // 256, 77
        files.append(folder / f"crop{number}.png")
        Image.fromarray(image).save(files[-1])
    return files


class PerfectReader:
    """Instead of a network: the lane field of the truth at the pose of a numbered crop."""

    def __init__(self, truth: LaneGraph, poses: Sequence[SE2]) -> None:
        self.graphs = [resample(cut(truth, pose, AROUND), 1.0) for pose in poses]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = self

        def read_fields(
            self: FieldEmbedding, observations: Sequence[Observation], maps_BCRS: np.ndarray | None = None
        ) -> np.ndarray:
            numbers = []
            for one in observations:
                assert isinstance(one, AerialCrop)
                assert one.image[0, 0, 2] == 77
                numbers.append(int(one.image[0, 0, 0]) + 256 * int(one.image[0, 0, 1]))
            truth = draw_all([reader.graphs[number] for number in numbers], self.field)
            if maps_BCRS is None:
                return truth
            return np.concatenate([truth, np.maximum(truth - maps_BCRS, 0), np.maximum(maps_BCRS - truth, 0)], 1)

        monkeypatch.setattr(FieldEmbedding, "read_fields", read_fields)


def write_town(folder: Path) -> StreetMap:
    """town.geojson, model.safetensors, update.safetensors and a ground image, ortho.tif."""
    street = town_map()
    write_geojson(street, folder / "town.geojson")
    write_model(folder / "model.safetensors")
    write_model(folder / "update.safetensors", with_map=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 120, (3, 220, 220), np.uint8)
    with rasterio.open(
        folder / "ortho.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        count=3,
        height=220,
        width=220,
        transform=rasterio.Affine(1.0, 0, -HALF_M, 0, -1.0, HALF_M),
    ) as dataset:
        dataset.write(pixels)
    return street


def write_ring_frames(folder: Path, frames: int = 2) -> list[str]:
    """ring.json and a folder a camera with grey images; the names of the cameras."""
    ring = surround_ring(size_px=(96, 72))
    folder.mkdir(parents=True, exist_ok=True)
    write_ring_file(folder / "ring.json", ring)
    rng = np.random.default_rng(1)
    for name in ring.names:
        (folder / name).mkdir()
        for frame in range(frames):
            Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(folder / name / f"{frame}.png")
    return list(ring.names)


def write_pairs(folder: Path, street: StreetMap, poses: Sequence[SE2]) -> None:
    """A folder of pairs of numbered crops."""
    (folder / "maps").mkdir(parents=True)
    write_geojson(street, folder / "maps" / "town.geojson")
    files = write_numbered(folder / "images", len(poses))
    rows = ["map,x_m,y_m,heading_rad,aerial"]
    for pose, file in zip(poses, files, strict=True):
        rows.append(f"town,{pose.x_m!r},{pose.y_m!r},{pose.heading_rad!r},images/{file.name}")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")


def lines_of(path: Path) -> list[dict]:
    """JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
