"""Photos on their side: features that know things upright are found in the photo turned, at their places in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foldmap.api.localizing_photos import _photo_estimates
from foldmap.api.observing_photos import PhotoQuery, QueryFeatures
from foldmap.api.photo import Photo
from foldmap.formats.listing import ListedImage
from foldmap.geometry.camera import Camera
from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.localize.visual.turned import also_turned
from foldmap.types import ByteArray
from foldmap.visual.features.photos import PhotoFeatures
from foldmap.visual.features.turned import extract_turned, known_upright_alone
from foldmap.visual.source import Features, Query

DOTS_PX = np.array([[4.5, 3.5], [50.5, 7.5], [21.5, 33.5]])
_CAMERA = Camera("PINHOLE", 60, 40, np.array([50.0, 50.0, 30.0, 20.0]))


def _dotted() -> ByteArray:
    """60 x 40 px with a bright sky and dots of different brightness."""
    image = np.zeros((40, 60), np.uint8)
    image[0] = 9
    for number, (x, y) in enumerate(DOTS_PX):
        image[int(y), int(x)] = 100 + 50 * number
    return image


class UprightDots:
    """Finds dots, by their brightness; describes them by whether the sky is above."""

    feature = "xfeat"

    def extract(self, image: ByteArray) -> Features:
        rows, columns = np.nonzero(image >= 100)
        order = np.argsort(image[rows, columns])
        xy_px = np.stack([columns + 0.5, rows + 0.5], axis=1)[order].astype(np.float32)
        upright = float((image[0] == 9).all())
        return Features(xy_px, np.full((len(xy_px), 2), (upright, 1.0 - upright), np.float32))


class FindsUpright:
    """A localizer that knows what is upright, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Query] = []

    def localize(self, queries: Query | list[Query]) -> CameraEstimate:
        query = queries if isinstance(queries, Query) else queries[0]
        self.asked.append(query)
        status = Status.OK if query.features.descriptors[0, 0] == 1 else Status.NO_MATCH
        health = CameraDiagnostics(time_s=1.0)
        return CameraEstimate(status, np.eye(4), np.eye(6), health) if status is Status.OK else _lost(health)


def _lost(health: CameraDiagnostics) -> CameraEstimate:
    return CameraEstimate.without_pose(Status.NO_MATCH, health)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_places_are_those_of_the_photo_as_it_is(quarters: int) -> None:
    found = extract_turned(UprightDots(), _dotted(), quarters)
    assert np.allclose(found.xy_px, DOTS_PX)
    assert (found.descriptors[:, 0] == 0).all()
    turned_back = extract_turned(UprightDots(), np.rot90(_dotted(), quarters), quarters)
    assert (turned_back.descriptors[:, 0] == 1).all()


@pytest.mark.parametrize(("lies", "turned_deg", "asked"), [(0, 0, 1), (1, 90, 3), (3, 270, 4), (2, 180, 5)])
def test_a_photo_on_its_side_is_asked_turned(tmp_path: Path, lies: int, turned_deg: int, asked: int) -> None:
    image, localizer = np.ascontiguousarray(np.rot90(_dotted(), lies)), FindsUpright()
    Image.fromarray(image).save(tmp_path / "a.png")
    height, width = image.shape
    listed = ListedImage("a.png", Camera("PINHOLE", width, height, np.array([50.0, 50.0, 0.5 * width, 0.5 * height])))
    source = PhotoFeatures(tmp_path, UprightDots())
    brought = QueryFeatures(source, tmp_path, photos=tmp_path, turned=source.load_turned)
    one = PhotoQuery("a.png", (listed,))
    (found,), _ = _photo_estimates([one], brought, localizer, lambda done, total: None)  # type: ignore[arg-type]
    assert found.status is Status.OK
    assert found.diagnostics.turned_deg == turned_deg
    assert found.diagnostics.time_s == len(localizer.asked) == asked
    rows, columns = np.nonzero(image >= 100)
    order = np.argsort(image[rows, columns])
    places = np.stack([columns + 0.5, rows + 0.5], axis=1)[order]
    assert all(np.allclose(query.features.xy_px, places) for query in localizer.asked)


def test_only_what_is_ok_is_believed_of_a_turned_photo() -> None:
    photo, extractor = Photo(_dotted(), _CAMERA), UprightDots()
    doubted = CameraEstimate(Status.DEGRADED, np.eye(4), np.eye(6), CameraDiagnostics(time_s=1.0))
    first, turns = _lost(CameraDiagnostics(reason="first", time_s=1.0)), list[tuple[int, bool]]()

    def ask(quarters: int, small: bool) -> CameraEstimate:
        turns.append((quarters, small))
        assert np.allclose(photo.query(extractor, quarters, small).features.xy_px, DOTS_PX)
        return doubted if quarters == 2 else _lost(CameraDiagnostics(time_s=1.0))

    found = also_turned(first, ask)
    assert (found.status, found.diagnostics.reason, found.diagnostics.time_s) == (Status.NO_MATCH, "first", 5.0)
    assert sorted(turns) == [(1, True), (2, False), (2, True), (3, True)]  # the whole image where the small one matches
    assert also_turned(doubted, ask) is doubted
    assert len(turns) == 4


class Corners:
    """Finds two corners, and keeps the sizes it was shown."""

    feature = "xfeat"

    def __init__(self) -> None:
        self.sizes_px: list[tuple[int, int]] = []

    def extract(self, image: ByteArray) -> Features:
        height, width = image.shape[:2]
        self.sizes_px.append((width, height))
        return Features(np.array([[0, 0], [width, 0]], np.float32), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_small_image_gives_places_in_the_whole_one(quarters: int) -> None:
    image, extractor = np.zeros((600, 2000, 3), np.uint8), Corners()
    whole, small = (extract_turned(extractor, image, quarters, small).xy_px for small in (False, True))
    assert np.array_equal(whole, small)
    (width, height), inner = extractor.sizes_px
    assert max(inner) == 800
    assert inner[0] / inner[1] == pytest.approx(width / height)


def test_sift_needs_no_turns() -> None:
    assert [name for name in ("sift", "xfeat", "aliked-n16") if known_upright_alone(name)] == ["xfeat", "aliked-n16"]
