"""A town file of three layers with many tiles each: lidar tiles of random bytes, real streets, a real scene."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.formats.street.polylines import read_csv
from foldmap.localize.visual.plan import transform_codecs
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.source import StreetMap
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import SceneModel
from tests.cli.scene_place import room_scene

TILE_M, COLUMNS, ROWS = 25.6, 40, 12
WEST_M, NORTH_M = 0.0, 160.0
HEAD = "line,x_m,y_m\n"


def lidar_parameters(west_m: float = WEST_M, north_m: float = NORTH_M, **changes: object) -> dict[str, object]:
    """A grid of tiles of 512 px of 5 cm."""
    grid = {"west_m": west_m, "north_m": north_m, "resolution_m": 0.05, "crs_wkt": ""}
    grid |= {"height_px": 512 * ROWS, "width_px": 512 * COLUMNS}
    return {"grid": grid, "codec": "c", "tile_blocks": 1, "block_px": 512, "spread": 1.0, "observed_px": 480, **changes}


def put_lidar(writer: FoldWriter, seed: int = 0, columns: range = range(COLUMNS), **parameters: object) -> None:
    """Tiles of bytes that their keys and the seed decide."""
    writer.add_layer("lidar", "lidar", lidar_parameters(**parameters))  # type: ignore[arg-type]
    writer.put_model("lidar", "localizer", b"weights", "localizer")
    for row in range(ROWS):
        for column in columns:
            writer.put_tile("lidar", column, row, np.random.default_rng((seed, row, column)).bytes(300))


def street_of(folder: Path, name: str = "streets", lines: int = 6, shift_m: float = 0.0) -> StreetMap:
    """Winding lanes of 900 m side by side."""
    path = folder / f"{name}.csv"
    rows = [f"{k},{x},{shift_m + 4 * k + 20 * math.sin(x / 40):.3f}\n" for k in range(lines) for x in range(0, 900, 10)]
    path.write_text(HEAD + "".join(rows))
    return replace(read_csv(path).street_map, name=name)


def put_street(writer: FoldWriter, *maps: StreetMap, **plan: object) -> None:
    """Tiles of 100 m."""
    fold_street(writer, maps, StreetPlan(**{"tile_m": 100.0, "spacing_m": 5.0, **plan}))  # type: ignore[arg-type]


@cache
def half_blind_scene(seed: int = 0, metric: bool = True, apart_m: float = 0.0) -> SceneModel:
    """A room of 4 m whose first images see what lies below x = 2 m, the others the rest."""
    room = room_scene(seed)
    left = room.points_world[room.tracks.point, 0] < 2.0
    first = room.tracks.image < len(room.image_names) // 2
    tracks = room.tracks.take(left == first)
    used, point = np.unique(tracks.point, return_inverse=True)
    shifted = room.camera_SE3_world.copy()
    shifted[:, :3, 3] -= shifted[:, :3, 0] * apart_m
    return replace(
        room,
        points_world=room.points_world[used] + [apart_m, 0, 0],
        tracks=replace(tracks, point=point.astype(np.int64)),
        camera_SE3_world=shifted,
        image_names=tuple(f"{seed} {name}" for name in room.image_names),
        metric=metric,
    )


def put_scene(writer: FoldWriter, scene: SceneModel, images: bool = True) -> None:
    """Tiles of at most 60 points, by the shipped basis."""
    means = track_means(scene)
    (codec,) = transform_codecs(scene, means, (0.1,))
    kept = np.arange(len(means), dtype=np.int64)
    fold_visual(writer, scene, VisualPlan(kept, codec, images=images, tile_points=60), means=means)


@cache
def town_bytes(folder: Path) -> bytes:
    """The whole town."""
    path = folder / "town.fold"
    with FoldWriter(path) as writer:
        writer.put_metadata("provenance", {"foldmap": "test"})
        put_lidar(writer)
        put_street(writer, street_of(folder), street_of(folder, "far", 2, 5000.0))
        put_scene(writer, half_blind_scene())
    return path.read_bytes()
