"""Rows 1 to 5: accuracy of the unfolded map, and of files within 300, 150, 60 and 30 KB beside the simple baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from benchmarks.context import Board
from benchmarks.lines import Line, at_least, at_most
from benchmarks.visual.data import TIGHT, WIDE, Place, VisualBoard, counted, poses
from foldmap.bench.visual.plain import XYZ_BYTES, PlainLocalizer, simple_map
from foldmap.metrics.camera_pose import median_errors
from foldmap.types import DoubleArray
from foldmap.visual.codes.codecs import DescriptorCodec, raw_for
from foldmap.visual.codes.fit_codecs import descriptors_of, fit_codec
from foldmap.visual.select import choose_points

KB = 1000


def accuracy_lines(
    row: int, place: Place, what: str, found: Sequence[DoubleArray | None], targets: Sequence[float | None], **more: Any
) -> Iterator[Line]:
    """Percent of the queries within the tight and the wide threshold; with a target, or for information."""
    centre, turn_deg = median_errors(place.errors(found))
    detail = {"median_centre": centre, "unit": place.held_out.scale.name, "median_deg": turn_deg, **more}
    for threshold, target in zip((TIGHT, WIDE), targets, strict=True):
        name = f"{what}: within {threshold[0]:g} {place.held_out.scale.name}, {threshold[1]:g} deg"
        yield at_least(row, name, place.percent(found, threshold), target, "%", detail=detail)


@dataclass(frozen=True)
class Unfolded:
    """Row 1: every point, the mean descriptor of its track, nothing quantized.

    Attributes:
        scenes: recorded.
        least_pct: within the tight threshold.
    """

    number: ClassVar[int] = 1
    name: ClassVar[str] = "unfolded"
    title: ClassVar[str] = "the map as it was built"
    scenes: tuple[str, ...] = ("redkitchen", "bonsai")
    least_pct: float = 100.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        for name in self.scenes:
            place = board.place(name)
            answers = board.unfolded(name)
            size = place.scene.points_world.shape[0] * 128
            more = {"descriptor_bytes": size, "queries": len(answers), "statuses": counted(answers)}
            yield from accuracy_lines(self.number, place, name, poses(answers), (self.least_pct, None), **more)


@dataclass(frozen=True)
class Budget:
    """Rows 2 to 5: a file of at most so many bytes on disk, everything counted.

    Attributes:
        number: of the row.
        kilobytes: of 1000 bytes.
        least_pct: scene -> targets (tight, wide); None: for information.
        simple: whether the baseline is measured beside.
    """

    number: int
    kilobytes: int
    least_pct: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    simple: bool = True

    @property
    def name(self) -> str:
        """Like "60kb"."""
        return f"{self.kilobytes}kb"

    @property
    def title(self) -> str:
        """For people."""
        return f"files of at most {self.kilobytes} KB"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        for name, targets in self.least_pct.items():
            place = board.place(name)
            file = board.file(name, self.kilobytes * KB)
            chosen = {"points": file.planned.chosen.points, "codec": dict(file.planned.chosen.codec)}
            label = f"{name}, {self.kilobytes} KB"
            yield at_most(self.number, f"{label}: file", file.size / KB, self.kilobytes, "KB", detail=chosen)
            answers = board.folded(name, self.kilobytes * KB)
            yield from accuracy_lines(
                self.number, place, label, poses(answers), targets, **chosen, statuses=counted(answers)
            )
            if self.simple:
                yield from self._simple(board, place, label)

    def _simple(self, board: VisualBoard, place: Place, label: str) -> Iterator[Line]:
        """Greedy K-cover, raw bytes or PQ16 with its codebook, 6 bytes of xyz a point, nearest neighbours, PoseLib."""
        for kind in ("raw", "pq16"):
            codec: DescriptorCodec = board.shared(("simple", place.name, kind), partial(simple_codec, place, kind))
            each = XYZ_BYTES + (16 if kind == "pq16" else codec.dimension)
            room = self.kilobytes * KB - len(codec.model() or b"")
            count = min(room // each, len(place.scene.points_world))
            if count < 4:
                note = f"info: {self.kilobytes} KB do not hold the codebook of {len(codec.model() or b'')} bytes"
                yield Line(self.number, f"{label}: simple {kind}", None, note=note)
                continue
            kept = choose_points(place.scene, count, "cover").kept
            built, size = simple_map(place.scene, place.means, kept, codec)
            plain = PlainLocalizer(built)
            found = board.ask(plain.localize, place.held_out.queries, f"{label}, simple {kind}")
            more = {"points": count, "bytes": size}
            yield from accuracy_lines(self.number, place, f"{label}: simple {kind}", found, (None, None), **more)


def simple_codec(place: Place, kind: str) -> DescriptorCodec:
    """Raw bytes, or product codes of 16 bytes, fitted to all points of the map."""
    return raw_for(place.means) if kind == "raw" else fit_codec(descriptors_of(place.scene), 16, "pq")


def budget_rows() -> list[Budget]:
    """The four budgets with the issue's targets, (tight, wide)."""
    return [
        Budget(2, 300, {"redkitchen": (99.5, None), "bonsai": (99.0, None)}),
        Budget(3, 150, {"redkitchen": (97.0, None), "bonsai": (95.0, None)}),
        Budget(4, 60, {"redkitchen": (80.0, 99.0), "bonsai": (65.0, 80.0)}),
        Budget(5, 30, {"redkitchen": (None, 95.0), "bonsai": (None, 50.0)}),
    ]
