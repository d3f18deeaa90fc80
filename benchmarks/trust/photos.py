"""Rows of photos: hostile ones, right ones, changed ones that stay right, a focal length that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.trust.board import AS_TAKEN, TrustBoard, trust
from foldmap.bench.trust.answers import Answer, Expect, counted, hostile, kind_rows
from foldmap.bench.trust.photo_changes import ELSEWHERE, KINDS, TOWN
from foldmap.localize.estimate import Status

MOST_DEGRADED_PCT = 0.5
CHANGED = ("turned", "blurred", "half as bright")
FOCAL = ("focal -5", "focal +5")
HOSTILE = (*(kind.name for kind in KINDS if kind.expect is not Expect.RIGHT), ELSEWHERE, TOWN)
Ask = Callable[[], list[Answer]]


@dataclass(frozen=True)
class PhotoMaps:
    """Which maps are asked: those of some scenes (`scored`), by each feature, at each size.

    Each scored scene's photos of elsewhere are those of the others. Photos that are asked are blocks of a recording
    that the map is not made of. Both scenes were looked at while thresholds were chosen: what is new to foldmap is
    asked by ``foldmap bench trust``.
    """

    scored: tuple[str, ...] = ("redkitchen", "bonsai")
    others: tuple[str, ...] = ("redkitchen", "bonsai")
    features: tuple[str, ...] = ("sift", "aliked-n16", "xfeat")
    kilobytes: tuple[int, ...] = (15, 60, 150, 300)
    count: int = 16

    def each(self) -> Iterator[tuple[str, str, int]]:
        """Scene, feature and size of each map."""
        for scene in self.scored:
            for feature in self.features:
                for size in self.kilobytes:
                    yield scene, feature, size

    def require(self, board: TrustBoard) -> None:
        """Raise a RowSkipped where a scene is not here: that is the first thing to say."""
        for scene in self.scored:
            board.asked(scene)

    def answers(
        self, board: TrustBoard, scene: str, feature: str, size: int, kinds: tuple[str, ...] = HOSTILE
    ) -> list[Answer]:
        """Answers of one map to those kinds of photos whose names begin so."""
        others = tuple(name for name in self.others if name != scene)
        photos = board.set_of(scene, others, board.queries or self.count, kinds)
        return board.photo_answers(scene, feature, size, photos)

    def every(self, board: TrustBoard, kinds: tuple[str, ...]) -> list[tuple[str, list[Answer]]]:
        """Feature of each map that can be asked, and its answers to some kinds; a RowSkipped where none can."""
        found, why = list[tuple[str, list[Answer]]](), ""
        for scene, feature, size in self.each():
            try:
                found.append((feature, self.answers(board, scene, feature, size, kinds)))
            except RowSkipped as skipped:
                why = str(skipped)
        if not found:
            raise RowSkipped(why)
        return found

    def right(self, board: TrustBoard, scene: str, feature: str, size: int) -> list[Answer]:
        """Answers of one map to all photos as they are."""
        photos = board.set_of(scene, (), len(board.asked(scene)), (AS_TAKEN,))
        return board.photo_answers(scene, feature, size, photos)

    def beside_whole_map(self, board: TrustBoard, scene: str, feature: str, size: int) -> list[Answer]:
        """The same, held against the poses that the map gives as it was built."""
        board.file(scene, feature, size)  # says first what is left out
        return board.photo_answers(scene, feature, size, board.whole_map_set(scene, feature), "whole map")


def hostile_lines(number: int, what: str, answers: list[Answer], least: int | None = None) -> Iterator[Line]:
    """Of hostile queries: wrong answers, degraded wrong answers; kind by kind in the detail."""
    asked = hostile(answers)
    found = counted(asked)
    detail = {"kinds": kind_rows(asked)}
    yield at_most(number, f"{what}: ok beyond the stated bound, of {len(asked)}", found["ok_beyond"], 0, detail=detail)
    share = 100.0 * found["degraded_beyond"] / max(len(asked), 1)
    yield at_most(number, f"{what}: degraded beyond it", share, MOST_DEGRADED_PCT, "%")
    if least is not None:
        yield at_least(number, f"{what}: hostile queries", len(asked), least)


def asked_each(number: int, asks: Mapping[str, Ask]) -> Iterator[tuple[str, list[Answer] | Line]]:
    """Each map's answers; of one that cannot be asked the line that says why."""
    for what, ask in asks.items():
        try:
            yield what, ask()
        except RowSkipped as skipped:
            yield what, Line(number, what, None, note=str(skipped))


def hostile_row(number: int, of: str, asks: Mapping[str, Ask], least: int, where: str = "all maps") -> Iterator[Line]:
    """Hostile queries map by map, then of all maps together, then of all by kind."""
    every = list[Answer]()
    for what, answers in asked_each(number, asks):
        if isinstance(answers, Line):
            yield answers
            continue
        every += answers
        yield from hostile_lines(number, what, answers)
    yield from hostile_lines(number, f"all {of}", every, least)
    for row in merged_kinds(hostile(every)):
        yield information(number, f"{where}, {row['kind']}: ok beyond, of {row['asked']}", row["ok_beyond"], detail=row)


def merged_kinds(answers: list[Answer]) -> list[dict[str, Any]]:
    """A row a kind, as if all were of one map."""
    return kind_rows([replace(one, map="all") for one in answers])


@dataclass(frozen=True)
class HostilePhotos:
    """Row 1."""

    number: ClassVar[int] = 1
    name: ClassVar[str] = "photos"
    title: ClassVar[str] = "hostile photos, by feature and size of the map"
    maps: PhotoMaps = PhotoMaps()
    least: int = 1000

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = trust(board)
        self.maps.require(board)
        each = {f"{scene}, {feature}, {size} KB": (scene, feature, size) for scene, feature, size in self.maps.each()}
        asks = {what: partial(self.maps.answers, board, *one) for what, one in each.items()}
        yield from hostile_row(self.number, "photos", asks, self.least)


@dataclass(frozen=True)
class RightPhotos:
    """Row 2: held-out photos answered `ok`, of those that the map localizes as it was built, unfolded."""

    number: ClassVar[int] = 2
    name: ClassVar[str] = "right-photos"
    title: ClassVar[str] = "right photos, of those that the full map localizes"
    maps: PhotoMaps = PhotoMaps()
    least_pct: float = 97.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = trust(board)
        self.maps.require(board)
        for scene, feature, size in self.maps.each():
            what = f"{scene}, {feature}, {size} KB: right photos ok, of those the full map localizes"
            try:
                found = self.maps.right(board, scene, feature, size)
                full = board.whole_map_set(scene, feature)
            except RowSkipped as skipped:
                yield Line(self.number, what, None, note=str(skipped))
                continue
            known = {one.name for one in full.right}
            ok = sum(one.status is Status.OK and not one.beyond for one in found if one.query in known)
            share = 100.0 * ok / max(len(known), 1)
            yield at_least(self.number, what, share, self.least_pct, "%", detail=counted(found))


@dataclass(frozen=True)
class ChangedPhotos:
    """Row 3: photos turned, blurred and dimmed that are `ok` and right, of those that are `ok` as they are."""

    number: ClassVar[int] = 3
    name: ClassVar[str] = "changed-photos"
    title: ClassVar[str] = "photos turned by 90 degrees, blurred, half as bright"
    maps: PhotoMaps = PhotoMaps()
    least_pct: float = 90.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        every = dict[str, list[Answer]]()
        for feature, answers in self.maps.every(trust(board), (AS_TAKEN, *CHANGED)):
            before = {one.query for one in answers if one.kind == AS_TAKEN and one.status is Status.OK}
            for one in answers:
                if one.kind.startswith(CHANGED) and one.query in before:
                    every.setdefault(f"{feature}, {one.kind}", []).append(one)
        if not every:
            raise RowSkipped("skipped: no photo is ok as it was taken")
        for what, some in every.items():
            right = sum(one.status is Status.OK and not one.beyond for one in some)
            share, detail = 100.0 * right / len(some), counted(some)
            yield at_least(self.number, f"{what}: ok and right", share, self.least_pct, "%", detail=detail)


@dataclass(frozen=True)
class WrongFocal:
    """Row 4: whatever is answered with a focal length that is wrong by 5 % says how wrong it is."""

    number: ClassVar[int] = 4
    name: ClassVar[str] = "focal"
    title: ClassVar[str] = "focal length wrong by 5 %"
    maps: PhotoMaps = PhotoMaps()

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        every = self.maps.every(trust(board), FOCAL)
        some = [one for _, answers in every for one in answers if one.kind.startswith(FOCAL)]
        posed = [one for one in some if one.status.has_pose]
        detail = {"kinds": merged_kinds(some)}
        yield at_most(
            self.number, "errors beyond the protection level", sum(one.beyond for one in posed), 0, detail=detail
        )
        yield information(self.number, "focal 5 % off: answered with a pose", len(posed), note=f"of {len(some)}")
