"""Rows 6 and 7: four bytes a descriptor on all points, and what positions and visibility take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from benchmarks.context import Board, Report
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.visual.data import TIGHT, WIDE, Place, VisualBoard, poses
from foldmap.bench.visual.plain import PlainLocalizer, WholeMap
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.types import DoubleArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.codes.fit_codecs import TRAINED, descriptors_of, fit_codec, settings_for
from foldmap.visual.codes.points_codec import decode_points, encode_points, tolerance_from_views
from foldmap.visual.codes.visibility_codec import encode_visibility, visibility_matrix
from foldmap.visual.decoded import MapPoints
from foldmap.visual.dpq.train import LayerProgress
from foldmap.visual.scene.noise import reprojection_noise_px
from foldmap.visual.select import choose_points
from foldmap.visual.source import SceneModel


@dataclass(frozen=True)
class FourBytes:
    """Row 6: direct matching against the descriptors of all points, four bytes each.

    Attributes:
        scene: recorded.
        parts: bytes a descriptor.
        kinds: of codes, as `fit_codec` knows them: the first one has the target.
        least_pct: within the wide threshold.
    """

    number: ClassVar[int] = 6
    name: ClassVar[str] = "pq4"
    title: ClassVar[str] = "four bytes a descriptor on all points, direct matching"
    scene: str = "bonsai"
    parts: int = 4
    kinds: tuple[str, ...] = ("dpqed+", "pq")
    least_pct: float = 90.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        place = board.place(self.scene)
        for number, kind in enumerate(self.kinds):
            epochs = settings_for(kind).epochs if kind in TRAINED else 1
            say = board.report(f"fitting {kind} to {place.name}, epoch")
            say(0, epochs)
            codec = fit_codec(descriptors_of(place.scene), self.parts, kind, report=partial(_epoch, say, epochs))
            yield from self._accuracy(board, place, kind, codec, aimed=number == 0)

    def _accuracy(
        self, board: VisualBoard, place: Place, kind: str, codec: DescriptorCodec, aimed: bool
    ) -> Iterator[Line]:
        codes = codec.encode(place.means)
        points = MapPoints(place.scene.points_world, codec.decode(codes, len(place.means)))
        built = WholeMap(place.scene.feature, points)
        detail: dict[str, float] = {
            "code_bytes": len(codes),
            "model_bytes": len(codec.model() or b""),
            "points": len(points),
        }
        label = f"{place.name}, {kind} in {self.parts} bytes, all points"
        answers = board.ask(VisualLocalizer(built).localize, place.held_out.queries, label)
        wide, least = place.percent(poses(answers), WIDE), self.least_pct if aimed else None
        detail["tight_pct"] = place.percent(poses(answers), TIGHT)
        yield at_least(self.number, f"{label}: within 2 %, 2 deg", wide, least, "%", detail=detail)
        plain = board.ask(PlainLocalizer(built).localize, place.held_out.queries, f"{label}, plainly")
        name = f"{label}: the same, matched once with ratio 0.85"
        yield at_least(self.number, name, place.percent(plain, WIDE), least, "%")


def _epoch(say: Report, epochs: int, progress: LayerProgress) -> None:
    say(progress.epoch, epochs)


@dataclass(frozen=True)
class Geometry:
    """Row 7: positions to an error below a third of the reprojection noise, and which image sees which point.

    Attributes:
        scenes: recorded.
        counts: of chosen points; 0 means all.
        groups: images in sequence that share one visibility; 1 is exact.
        most_bytes: a point, positions and visibility.
    """

    number: ClassVar[int] = 7
    name: ClassVar[str] = "geometry"
    title: ClassVar[str] = "bytes of xyz and visibility"
    scenes: tuple[str, ...] = ("redkitchen", "bonsai")
    counts: tuple[int, ...] = (2000, 20_000, 0)
    groups: tuple[int, ...] = (4, 1)
    most_bytes: float = 6.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        for name in self.scenes:
            place = board.place(name)
            for count in self.counts:
                if count and count >= len(place.scene.points_world):
                    continue
                board.report(f"geometry of {name}, {count or 'all'} points")(0, 1)
                chosen = place.scene
                if count:
                    chosen = place.scene.keep_points(choose_points(place.scene, count).kept)
                yield from self._lines(name, chosen)

    def _lines(self, name: str, scene: SceneModel) -> Iterator[Line]:
        points, images = len(scene.points_world), len(scene.image_names)
        noise_px = reprojection_noise_px(scene)
        coded, order = encode_points(scene.points_world, tolerance_from_views(scene, noise_px / 3.0))
        decoded = decode_points(coded)
        back = np.empty_like(decoded)
        back[order] = decoded
        label = f"{name}, {points:,} points"
        error_px = moved_px(scene, back)
        yield at_most(self.number, f"{label}: reprojections move by", error_px, noise_px / 3.0, "px rms")
        yield information(self.number, f"{label}: xyz", len(coded) / points, "B/point")
        for group in self.groups:
            seen = visibility_matrix(scene.tracks.point, scene.tracks.image // group, (points, -(-images // group)))
            size = len(encode_visibility(seen[order], decoded))
            how = "exact visibility" if group == 1 else f"visibility in groups of {group}"
            each = (len(coded) + size) / points
            detail = {"xyz_bytes": len(coded), "visibility_bytes": size, "noise_px": noise_px}
            yield at_most(self.number, f"{label}: xyz and {how}", each, self.most_bytes, "B/point", detail=detail)


def moved_px(scene: SceneModel, points_world: DoubleArray) -> float:
    """How far reprojections move when the points do, root mean square over all observations, px."""
    squared = 0.0
    for number, camera in enumerate(scene.cameras):
        rows = np.flatnonzero(scene.image_camera[scene.tracks.image] == number)
        pose = scene.camera_SE3_world[scene.tracks.image[rows]]
        at = [
            camera.project(np.einsum("oab,ob->oa", pose[:, :3, :3], xyz[scene.tracks.point[rows]]) + pose[:, :3, 3])
            for xyz in (scene.points_world, points_world)
        ]
        squared += float(np.nansum((at[0] - at[1]) ** 2))
    return float(np.sqrt(squared / max(len(scene.tracks), 1)))
