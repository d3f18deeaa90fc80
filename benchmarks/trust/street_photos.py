"""Row 12: hostile and right photos in a scene that no threshold was set on: a street, seen from a car."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.kitti import kitti_ring, kitti_scene
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.trust.board import AS_TAKEN, KB, trust
from benchmarks.trust.photos import hostile_lines
from benchmarks.trust.sigma import column
from foldmap.api.folding import VisualOptions, fold
from foldmap.bench.trust.answers import Answer, counted, placed
from foldmap.bench.trust.photos import PhotoSet, Taken, ask_photos, other_photos
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.localize.estimate import Status
from foldmap.metrics.consistency import level_score
from foldmap.types import DoubleArray
from foldmap.visual.features.images import read_image


@dataclass(frozen=True)
class StreetPhotos:
    """Row 12: kitti-drive0001, its colour camera's every fourth frame asked in a map of all others' photos.

    Photos a metre ahead and behind are in the map, so that this says whether `ok` can be fooled and whether right
    photos are answered, not how well photos of another day are placed. The truth is GNSS/INS, some centimetres.

    Attributes:
        camera: whose photos are asked.
        every: so many frames one is left out of the map.
        kilobytes: of the map.
        count: photos a kind.
        elsewhere: the scene whose photos are of elsewhere.
    """

    number: ClassVar[int] = 12
    name: ClassVar[str] = "street-photos"
    title: ClassVar[str] = "photos of a street, a scene that nothing was set on"
    camera: str = "image_02"
    every: int = 4
    kilobytes: int = 60
    count: int = 27
    elsewhere: str = "bonsai"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = trust(board)
        folder = board.recordings("kitti-drive0001")
        poses = [pose.matrix for pose in read_kitti_poses(folder / "poses.txt")]
        asked = range(self.every // 2, len(poses), self.every)
        scene = kitti_scene(folder, [(k, pose) for k, pose in enumerate(poses) if k not in asked], board.scratch)
        path = board.scratch / "street.fold"
        fold(scene, path, budget=self.kilobytes * KB, visual=VisualOptions())
        taken = [self._taken(folder, k, poses[k]) for k in asked]
        photos = PhotoSet(taken, other_photos([board.photos_of(self.elsewhere)]), self.count)
        yield from self.told(list(ask_photos(path, "street", photos, board.extractor, board.stage)))

    def _taken(self, folder: Path, frame: int, world_T_vehicle: DoubleArray) -> Taken:
        """A photo that is asked, with its camera and pose."""
        ring = kitti_ring(folder)
        own = ring.names.index(self.camera)
        (file,) = (folder / self.camera).glob(f"{frame:06d}.*")
        pose = np.linalg.inv(world_T_vehicle @ ring.vehicle_SE3_camera[own])
        return Taken(file.name, partial(read_image, file), ring.cameras[own], pose)

    def told(self, answers: list[Answer]) -> Iterator[Line]:
        """What the answers come to."""
        right = [one for one in answers if one.kind == AS_TAKEN]
        yield from hostile_lines(self.number, "hostile photos", answers)
        share = 100.0 * sum(one.status is Status.OK for one in right) / max(len(right), 1)
        yield at_least(self.number, f"right photos ok, of {len(right)}", share, 97, "%", detail=counted(right))
        if sure := placed(right):
            judged = level_score(column(sure, "position"), column(sure, "level"))
            yield at_most(self.number, f"right photos beyond the level, of {len(sure)}", judged.beyond, 0)
            yield information(self.number, "right photos, median level over median error", judged.ratio)
            yield information(self.number, "right photos, median error", 100.0 * judged.median_error, "cm")
