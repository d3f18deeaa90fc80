"""Text lists and results of hloc and the benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import InputError, MapInputError, PoseInputError, WriteError
from foldmap.formats.hloc.lists import (
    read_names,
    read_pairs,
    read_query_list,
    read_rig_list,
    write_query_list,
    write_rig_list,
)
from foldmap.formats.hloc.results import read_results, write_results
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray


def poses(count: int) -> DoubleArray:
    rng = np.random.default_rng(count)
    wxyz = rng.normal(size=(count, 4))
    return rigid_from_wxyz(wxyz / np.linalg.norm(wxyz, axis=1, keepdims=True), rng.normal(size=(count, 3)) * 100)


def test_query_list_of_aachen(tmp_path: Path) -> None:
    (tmp_path / "day_time_queries_with_intrinsics.txt").write_text(
        "query/day/nexus4/a.jpg SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.0353\n\n# note\n"
        "query/day/é.jpg PINHOLE 640 480 500 501 320 240\n"
    )
    (tmp_path / "night_time_queries_with_intrinsics.txt").write_text("query/night/b.jpg SIMPLE_PINHOLE 4 3 2 2 1.5\n")
    found = read_query_list(tmp_path / "*_time_queries_with_intrinsics.txt")
    assert [query.name for query in found] == ["query/day/nexus4/a.jpg", "query/day/é.jpg", "query/night/b.jpg"]
    cameras = [query.camera for query in found]
    assert cameras[0] is not None
    assert (cameras[0].model, cameras[0].width_px, cameras[0].height_px) == ("SIMPLE_RADIAL", 1600, 1200)
    np.testing.assert_array_equal(cameras[0].params, [1469.2, 800, 600, -0.0353])
    write_query_list(tmp_path / "out.txt", {query.name: query.camera for query in found if query.camera})
    again = read_query_list(tmp_path / "out.txt")
    assert [query.name for query in again] == [query.name for query in found]
    for one, two in zip(found, again, strict=True):
        assert one.camera is not None
        assert two.camera is not None
        assert one.camera.model == two.camera.model
        np.testing.assert_array_equal(one.camera.params, two.camera.params)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg PINHOLE 640 480", "line 1: the camera has no parameters"),
        ("a.jpg PINHOLE 640", "no parameters"),
        ("a.jpg PINHOLE 640 480 1 2 3", "3 parameters"),
        ("a.jpg PINHOLE 640 480 500 500 320 nan", "NaN"),
        ("a.jpg PINHOLE 640 480 500 500 320 x", "could not convert"),
        ("a.jpg PINHOLE 640.5 480 500 500 320 240", "whole pixels"),
        ("a.jpg PINHOLE 0 480 500 500 320 240", "0 x 480"),
        ("a.jpg FOV2 640 480 500 500 320 240", "FOV2"),
        ("a.jpg\na.jpg", "twice"),
        ("a.jpg PINHOLE 640 480 500 500 320 240\nb.jpg", "'b.jpg' has no camera"),
        ("# nothing\n", "names no query"),
    ],
)
def test_bad_query_lists_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(MapInputError, match=message) as caught:
        read_query_list(tmp_path / "q.txt")
    assert "q.txt" in str(caught.value)


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("größe.jpg\n".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("latin.txt", "empty.txt", "missing.txt", "*.nothing", "."):
        for read in (read_query_list, read_names, read_pairs, read_rig_list):
            with pytest.raises(MapInputError):
                read(tmp_path / name)


def test_names_and_pairs(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("db/1.jpg\ndb/2.jpg PINHOLE 1 1 1 1 1 1\n")
    assert read_names(tmp_path / "names.txt") == ["db/1.jpg", "db/2.jpg"]
    (tmp_path / "pairs.txt").write_text("q/1.jpg db/2.jpg\nq/ü.jpg db/1.jpg\nq/1.jpg db/1.jpg\n", encoding="utf-8")
    pairs = {"q/1.jpg": ["db/2.jpg", "db/1.jpg"], "q/ü.jpg": ["db/1.jpg"]}
    assert read_pairs(tmp_path / "pairs.txt") == pairs
    (tmp_path / "three.txt").write_text("a b c\n")
    with pytest.raises(MapInputError, match="line 1: 3 words"):
        read_pairs(tmp_path / "three.txt")


def test_results_round_trip_to_the_last_bit_but_rounding(tmp_path: Path) -> None:
    names = ["query/night/nexus/1.jpg", "query/day/2.jpg", "ø.jpg"]
    given = dict(zip(names, poses(3), strict=True))
    write_results(tmp_path / "r.txt", given)
    found = read_results(tmp_path / "r.txt")
    assert list(found) == names
    for name in names:
        np.testing.assert_allclose(found[name], given[name], atol=1e-12)
    write_results(tmp_path / "base.txt", given, base_names=True)
    assert list(read_results(tmp_path / "base.txt")) == ["1.jpg", "2.jpg", "ø.jpg"]
    with pytest.raises(WriteError, match="two images"):
        write_results(tmp_path / "x.txt", {"a/1.jpg": poses(1)[0], "b/1.jpg": poses(1)[0]}, base_names=True)


def test_results_agree_with_colmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    pose = poses(7)[3]
    write_results(tmp_path / "r.txt", {"a": pose})
    words = (tmp_path / "r.txt").read_text().split()
    w, x, y, z, *shift = (float(word) for word in words[1:])
    theirs = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([x, y, z, w])), np.array(shift))
    np.testing.assert_allclose(theirs.matrix(), pose[:3], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 0 0 0 1 2", "7 columns"),
        ("a 1 0 0 0 1 2 x", "could not convert"),
        ("a 1 0 0 0 1 2 inf", "infinite"),
        ("a 2 0 0 0 1 2 3", "length 2"),
        ("a 1 0 0 0 1 2 3\na 1 0 0 0 1 2 3", "comes twice"),
    ],
)
def test_bad_results_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(PoseInputError, match=message) as caught:
        read_results(tmp_path / "r.txt")
    assert "r.txt, line" in str(caught.value)


def test_rig_list(tmp_path: Path) -> None:
    text = (
        "# query_id image camera | pose\n"
        "s1 left/1.jpg PINHOLE 640 480 500 500 320 240 | 1 0 0 0 0.1 0 0\n"
        "s1 right/1.jpg PINHOLE 640 480 510 500 320 240 | 0 1 0 0 -0.1 0 0\n"
        "s2 left/2.jpg PINHOLE 640 480 500 500 320 240 | 1 0 0 0 0.1 0 0\n"
    )
    (tmp_path / "rigs.txt").write_text(text)
    rigs = read_rig_list(tmp_path / "rigs.txt")
    assert {key: [image.name for image in images] for key, images in rigs.items()} == {
        "s1": ["left/1.jpg", "right/1.jpg"],
        "s2": ["left/2.jpg"],
    }
    right = rigs["s1"][1]
    np.testing.assert_allclose(right.camera_SE3_rig, [[1, 0, 0, -0.1], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    write_rig_list(tmp_path / "again.txt", [image for images in rigs.values() for image in images])
    again = read_rig_list(tmp_path / "again.txt")
    np.testing.assert_allclose(again["s1"][1].camera_SE3_rig, right.camera_SE3_rig)
    for bad in ("s1 a.jpg PINHOLE 640 480 500 500 320 240", "s1 a.jpg | 1 0 0 0 0 0 0", "s1 a.jpg P 1 1 1 | 1 0 0 0 0"):
        (tmp_path / "bad.txt").write_text(bad)
        with pytest.raises(InputError, match="line 1"):
            read_rig_list(tmp_path / "bad.txt")
