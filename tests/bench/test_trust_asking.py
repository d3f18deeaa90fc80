"""How photos are asked for trust's rows: as users ask them, their features found once, maps folded once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lines import RowSkipped
from benchmarks.trust import board as boards
from benchmarks.trust.board import TrustBoard
from benchmarks.trust.photos import ChangedPhotos, PhotoMaps, WrongFocal
from foldmap.bench.trust.answers import Answer, Expect
from foldmap.bench.trust.photos import PhotoSet, Taken, ask_localizer, town_photos
from foldmap.geometry.camera import Camera
from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.types import ByteArray
from foldmap.visual.source import Features, Query

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64), np.uint8)
CAMERA = Camera("PINHOLE", 64, 48, np.array([60.0, 60.0, 32.0, 24.0]))


class Upright:
    """Knows one photo the way it was taken."""

    feature = "upright"

    def __init__(self) -> None:
        self.extracted = 0

    def extract(self, image: ByteArray) -> Features:
        self.extracted += 1
        count = 8 if np.array_equal(image, PHOTO) else 0
        return Features(np.zeros((count, 2), np.float32), np.zeros((count, 4), np.float32))


class Somewhere:
    """Answers whatever has keypoints."""

    def localize(self, query: Query) -> CameraEstimate:
        if not len(query.features.xy_px):
            return CameraEstimate.without_pose(Status.NO_MATCH, CameraDiagnostics())
        return CameraEstimate(Status.OK, np.eye(4), np.eye(6), CameraDiagnostics())


def asked(feature: str, extractor: Upright, photos: PhotoSet) -> list[Answer]:
    return list(ask_localizer(Somewhere(), feature, "m", photos, lambda _: extractor, lambda _: lambda *_: None))  # type: ignore[arg-type]


def test_a_photo_that_lies_on_its_side_is_asked_as_users_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [Taken("a", lambda: PHOTO, CAMERA, np.eye(4))]
    extractor, photos = Upright(), PhotoSet(taken, kinds=("turned",))
    (answer,) = asked("upright", extractor, photos)
    assert answer.status is Status.OK
    count = extractor.extracted
    assert [one.status for one in asked("upright", extractor, photos)] == [Status.OK]
    assert extractor.extracted == count  # of another map of the same features nothing is found again
    # SIFT has an orientation: it is asked once
    (answer,) = asked("sift", extractor, photos)
    assert answer.status is Status.NO_MATCH
    assert extractor.extracted == count + 1
    monkeypatch.setattr("foldmap.bench.trust.photos._TOWN_PX", (32, 24))
    assert town_photos(1, 7) is town_photos(1, 7)


def test_kept_maps_are_of_the_code_that_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folded, seals = list[Path](), {"foldmap.visual.scene.build": "s" * 64}
    monkeypatch.setattr(boards, "code_seal", lambda module: seals[module])
    monkeypatch.setattr(boards, "fold", lambda scene, path, **_: (folded.append(path), path.write_bytes(b"map")))
    monkeypatch.setattr(TrustBoard, "scene", lambda self, scene, feature: tmp_path)
    for seal, count in (("a", 1), ("a", 1), ("b", 2)):
        seals["foldmap.api.folding"] = seal * 64
        board = TrustBoard(tmp_path, quiet=True, kept=tmp_path, photo_maps=("s:xfeat:60", "sift:15"))
        assert board.file("s", "xfeat", 60).read_bytes() == b"map"
        assert len(folded) == count
        with pytest.raises(RowSkipped):
            board.file("t", "xfeat", 60)
        board.close()
    assert folded[0] != folded[1]


def test_kept_answers_are_of_the_code_that_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seals = list[tuple[str, ...]](), {"foldmap.bench.trust.photos": "a"}

    def ask(path: Path, name: str, photos: PhotoSet, *_: object) -> Iterator[Answer]:
        asked.append(photos.kinds)
        for kind in photos.kinds:
            yield Answer(name, "visual", kind, "one", Expect.BOUND, Status.OK, True, 0.25, level=0.125)
            yield Answer(name, "visual", kind, "two", Expect.BOUND, Status.NO_MATCH, reason="nothing")

    monkeypatch.setattr(boards, "code_seal", lambda module: seals[module])
    monkeypatch.setattr(boards, "ask_photos", ask)
    monkeypatch.setattr(TrustBoard, "file", lambda self, *given: tmp_path / "map.fold")

    def told(*kinds: str) -> list[Answer]:
        with closing(TrustBoard(tmp_path, quiet=True, kept=tmp_path)) as board:
            return board.photo_answers("s", "xfeat", 60, PhotoSet(kinds=kinds, count=2))

    first = told("mirrored", "focal -5")
    assert [one.query for one in first] == ["one", "two"] * 2
    assert {one.kind for one in first} == {"mirrored", "focal -5 %"}
    assert (first[0].status, first[0].expect, first[0].level) == (Status.OK, Expect.BOUND, 0.125)
    assert math.isnan(first[1].position)
    again = told("mirrored", "noise")  # another row asks another kind: that alone is new
    assert [one.kind for one in again] == ["mirrored"] * 2 + ["noise"] * 2
    assert asked == [("focal -5 %", "mirrored"), ("noise",)]
    seals["foldmap.bench.trust.photos"] = "b"
    told("mirrored")
    assert asked[2:] == [("mirrored",)]


def test_rows_ask_what_they_tell_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = list[tuple[str, ...]]()
    board = TrustBoard(tmp_path, quiet=True)
    monkeypatch.setattr(board, "set_of", lambda scene, others, count, kinds=(): PhotoSet(kinds=kinds))
    monkeypatch.setattr(board, "photo_answers", lambda *given: wanted.append(given[3].kinds) or [])
    maps = PhotoMaps(features=("sift",), kilobytes=(60,), scored=("redkitchen",))
    with pytest.raises(RowSkipped):
        list(ChangedPhotos(maps=maps).lines(board))
    list(WrongFocal(maps=maps).lines(board))
    assert wanted == [("as taken", "turned", "blurred", "half as bright"), ("focal -5", "focal +5")]
    board.close()
