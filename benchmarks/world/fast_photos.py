"""Row of photos that are made smaller before their features are extracted: what that saves, and what it loses."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from PIL import Image

from benchmarks.context import Board
from benchmarks.lines import Line, at_most, information
from benchmarks.visual.data import VisualBoard, is_ok, poses
from benchmarks.world.service import ServedScene
from foldmap.atlas import FoldFile
from foldmap.geometry.camera import Camera
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.types import ByteArray
from foldmap.visual.features.extract import ExtractorSettings, open_extractor
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual


@dataclass(frozen=True)
class FastPhotos:
    """Row 7: held-out photos of both scenes, resampled to a million pixels, from pixels to pose on one thread.

    Attributes:
        scenes: recorded.
        sides: longest sides in px, None: as they are.
        megapixels: of the photos.
        most_s: processor time of a photo, with the last of the sides.
    """

    number: ClassVar[int] = 7
    name: ClassVar[str] = "fast-photos"
    title: ClassVar[str] = "photos made smaller"
    scenes: tuple[str, ...] = ("redkitchen", "bonsai")
    sides: tuple[int | None, ...] = (None, 640, 512)
    megapixels: float = 1.0
    most_s: float = 0.4

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        for scene in self.scenes:
            place, images = board.place(scene), board.recordings(scene) / "images"
            with FoldFile.open(ServedScene(scene).path(board)) as file:
                localizer = VisualLocalizer.open(FoldedVisual(file))
                localizer.localize(place.held_out.queries[0])  # compiled code is loaded before the clock starts
                for side in self.sides:
                    extractor = open_extractor("sift", settings=ExtractorSettings(max_side_px=side))
                    found, spent_s = [], []
                    for query in place.held_out.queries:
                        photo, camera = self._photo(Image.open(images / query.name), query.camera)
                        began_s = time.process_time()
                        found.append(localizer.localize(Query(query.name, camera, extractor.extract(photo))))
                        spent_s.append(time.process_time() - began_s)
                    label = f"{scene}, {'whole photos' if side is None else f'{side} px'}"
                    name, median_s = f"{label}: photo to pose, processor time, median", float(np.median(spent_s))
                    if side == self.sides[-1]:
                        yield at_most(self.number, name, median_s, self.most_s, "s")
                    else:
                        yield information(self.number, name, median_s, "s")
                    errors = place.errors(poses(found))
                    detail = {"ok": sum(map(is_ok, found)), "photos": len(found)}
                    middle, unit = float(np.median(errors.centre)), place.held_out.scale.name
                    yield information(self.number, f"{label}: error, median", middle, unit, detail=detail)
                    yield information(self.number, f"{label}: ok", 100 * detail["ok"] / len(found), "%")

    def _photo(self, image: Image.Image, camera: Camera) -> tuple[ByteArray, Camera]:
        """A photo of so many pixels, RGB, and its camera."""
        factor = math.sqrt(1e6 * self.megapixels / (image.width * image.height))
        width, height = round(image.width * factor), round(image.height * factor)
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
        across, down = width / camera.width_px, height / camera.height_px
        scale = np.ones(len(camera.params))
        one_focal = camera.model.startswith("SIMPLE") or camera.model == "RADIAL"
        scale[: 3 if one_focal else 4] = (across, across, down) if one_focal else (across, down, across, down)
        return pixels, replace(camera, width_px=width, height_px=height, params=camera.params * scale)
