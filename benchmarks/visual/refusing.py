"""Row 10: photos of another place and photos of nothing must not be answered ``ok``, right ones must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.visual.budgets import KB
from benchmarks.visual.data import Place, VisualBoard, counted, is_ok
from foldmap.atlas import FoldFile
from foldmap.bench.trust.photo_changes import blank_image
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual


@dataclass(frozen=True)
class Refusing:
    """Row 10: every photo of the other scene, and blank ones, asked in each scene's file.

    Attributes:
        scenes: recorded; each is the wrong place of the next one's photos.
        kilobytes: of the files.
        blanks: blank photos a scene.
        seed: of them.
        least_wrong: how many wrong queries there must be.
        least_right_pct: right queries answered ``ok``, of those that the unfolded map localizes.
    """

    number: ClassVar[int] = 10
    name: ClassVar[str] = "refusing"
    title: ClassVar[str] = "wrong scenes and blank photos"
    scenes: tuple[str, ...] = ("redkitchen", "bonsai")
    kilobytes: int = 60
    blanks: int = 12
    seed: int = 0
    least_wrong: int = 500
    least_right_pct: float = 95.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        places = [board.place(name) for name in self.scenes]
        answers: dict[str, list[CameraEstimate]] = {}
        for number, place in enumerate(places):
            with FoldFile.open(board.file(place.name, self.kilobytes * KB).path) as file:
                localizer = VisualLocalizer(FoldedVisual(file))
                other = places[(number + 1) % len(places)]
                kind = f"photos of {other.name} in {place.name}"
                answers[kind] = board.ask(localizer.localize, other.all_queries(), kind)
                kind = f"blank photos in {place.name}"
                answers[kind] = board.ask(localizer.localize, self._blank(board, place), kind)
        wrong = [answer for given in answers.values() for answer in given]
        detail = {"statuses": {kind: counted(given) for kind, given in answers.items()}}
        n = self.number
        yield at_most(n, "wrong queries answered ok", sum(map(is_ok, wrong)), 0, detail=detail)
        yield at_least(n, "wrong queries asked", len(wrong), self.least_wrong)
        for kind, given in answers.items():
            posed = sum(answer.camera_SE3_world is not None for answer in given)
            yield information(n, f"{kind}: of {len(given)} answered ok or degraded", posed)
        for place in places:
            yield self._right(board, place)

    def _blank(self, board: VisualBoard, place: Place) -> list[Query]:
        camera, extract = place.full.cameras[0], board.extractor().extract
        made = []
        for number in range(self.blanks):
            rng = np.random.default_rng((self.seed, number))
            image = blank_image(number, camera.width_px, camera.height_px, rng)
            made.append(Query(f"blank {number}", camera, extract(image)))
        return made

    def _right(self, board: VisualBoard, place: Place) -> Line:
        """Of the queries that the unfolded map localizes, how many the file answers ``ok``."""
        unfolded = [answer.camera_SE3_world is not None for answer in board.unfolded(place.name)]
        folded = [is_ok(answer) for answer in board.folded(place.name, self.kilobytes * KB)]
        both = sum(one and other for one, other in zip(unfolded, folded, strict=True))
        percent = 100.0 * both / max(sum(unfolded), 1)
        detail = {
            "statuses": counted(board.folded(place.name, self.kilobytes * KB)),
            "localized_unfolded": sum(unfolded),
        }
        name = f"{place.name}, {self.kilobytes} KB: right queries ok, of those the unfolded map localizes"
        return at_least(self.number, name, percent, self.least_right_pct, "%", detail=detail)
