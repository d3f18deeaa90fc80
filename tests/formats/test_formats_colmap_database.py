"""COLMAP databases against pycolmap's writer and reader."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.formats.colmap.database import ColmapDatabase
from foldmap.visual.source import FeatureSource

NAMES = ["b c.png", "Straße/1.jpg", "empty.png"]
COUNTS = [40_000, 7, 0]


def features(at: int, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(at)
    keypoints = draw.uniform(0, 100, (COUNTS[at], columns)).astype(np.float32)
    return keypoints, draw.integers(0, 256, (COUNTS[at], 128), dtype=np.uint8)


def write(path: Path, columns: int = 4) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    with pycolmap.Database.open(path) as database:
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=100, height=100, params=[90, 50, 50])
        camera_id = database.write_camera(camera)
        for at, name in enumerate(NAMES):
            image_id = database.write_image(pycolmap.Image(name=name, camera_id=camera_id))
            keypoints, descriptors = features(at, columns)
            database.write_keypoints(image_id, keypoints)
            database.write_descriptors(
                image_id, pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, descriptors)
            )
        database.write_image(pycolmap.Image(name="without.png", camera_id=camera_id))


def change(path: Path, *queries: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for query in queries:
        connection.execute(query)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


@pytest.mark.parametrize("columns", [2, 4, 6])
def test_what_pycolmap_wrote(tmp_path: Path, columns: int) -> None:
    path = tmp_path / "database.db"
    write(path, columns)
    with ColmapDatabase(path) as database:
        source: FeatureSource = database
        assert source.feature == "sift"
        assert source.names() == sorted(NAMES)
        for at, name in enumerate(NAMES):
            keypoints, descriptors = features(at, columns)
            read = source.load(name)
            np.testing.assert_array_equal(read.xy_px, keypoints[:, :2])
            assert len(read.descriptors) == len(descriptors)
            if len(descriptors):
                np.testing.assert_array_equal(read.descriptors, descriptors)
                assert read.descriptors.dtype == np.uint8
                assert (read.scores is None) == (columns == 2)
        with pytest.raises(MapInputError, match=r"no features of image 'without\.png'"):
            source.load("without.png")


def test_scales_are_those_of_colmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    shapes = features(1, 6)[0]
    write(tmp_path / "database.db", 6)
    with ColmapDatabase(tmp_path / "database.db") as database:
        names = ("x", "y", "a11", "a12", "a21", "a22")
        rows = [dict(zip(names, map(float, row), strict=True)) for row in shapes]
        expected = [pycolmap.FeatureKeypoint(**row).compute_scale() for row in rows]
        np.testing.assert_allclose(database.load(NAMES[1]).scores, expected, rtol=1e-5)


def test_networks_store_float32(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    path = tmp_path / "database.db"
    descriptors = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32)
    kind = pycolmap.FeatureExtractorType.ALIKED_N32
    with pycolmap.Database.open(path) as database:
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=100, height=100, params=[90, 50, 50])
        image_id = database.write_image(pycolmap.Image(name="a.png", camera_id=database.write_camera(camera)))
        database.write_keypoints(image_id, np.ones((5, 2), np.float32))
        database.write_descriptors(image_id, pycolmap.FeatureDescriptorsFloat(kind, descriptors).to_bytes())
    with ColmapDatabase(path) as source:
        assert source.feature == "aliked-n32"
        np.testing.assert_array_equal(source.load("a.png").descriptors, descriptors)
    change(path, "UPDATE descriptors SET type = -1")
    with pytest.raises(MapInputError, match=r"does not say how its descriptors are meant \(type -1\)"):
        ColmapDatabase(path)
    with ColmapDatabase(path, "float32") as source:
        np.testing.assert_array_equal(source.load("a.png").descriptors, descriptors)
    with ColmapDatabase(path, "float16") as source:
        assert source.feature == "unknown"
        with pytest.raises(MapInputError, match="NaN or infinite"):  # float32 bytes are no float16
            source.load("a.png")


def test_an_old_database_has_no_type(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write(path)
    change(path, "ALTER TABLE descriptors DROP COLUMN type")
    with ColmapDatabase(path) as database:
        assert database.feature == "sift"
        np.testing.assert_array_equal(database.load(NAMES[1]).descriptors, features(1)[1])


def test_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write(path)
    before = path.read_bytes()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with ColmapDatabase(path) as database:
            database.load(NAMES[1])
            assert os.listdir(tmp_path) == ["database.db"]
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == before


def test_changes_that_lie_beside_are_read(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write(path)
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE images SET name = 'new.png' WHERE name = 'b c.png'")
    writer.commit()
    with ColmapDatabase(path) as database:
        assert "new.png" in database.names()
    writer.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("UPDATE keypoints SET rows = 8 WHERE rows = 7", r"keypoints of 'Straße/1\.jpg' are 8 x 4 in 112 bytes"),
        ("UPDATE descriptors SET rows = 1000000000000 WHERE rows = 7", "are 1,000,000,000,000 x 128 in 896 bytes"),
        ("UPDATE descriptors SET rows = -7, cols = -128 WHERE rows = 7", "are -7 x -128"),
        ("UPDATE keypoints SET data = NULL WHERE rows = 7", "in 0 bytes"),
        ("UPDATE keypoints SET data = CAST(substr(hex(data), 1, 112) AS TEXT) WHERE rows = 7", "are no bytes"),
        ("UPDATE keypoints SET rows = 28, cols = 1 WHERE rows = 7", "have 1 columns"),
        ("UPDATE keypoints SET rows = 14, cols = 2 WHERE rows = 7", "give one a keypoint"),
        ("UPDATE keypoints SET data = CAST(x'0000c07f' || substr(data, 5) AS BLOB) WHERE rows = 7", "NaN"),
    ],
)
def test_damaged_rows(tmp_path: Path, query: str, words: str) -> None:
    path = tmp_path / "database.db"
    write(path)
    change(path, query)
    with ColmapDatabase(path) as database, pytest.raises(MapInputError, match=words) as caught:
        database.load("Straße/1.jpg")
    assert str(path) in caught.value.message


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    with pytest.raises(MapInputError, match="cannot be read"):
        ColmapDatabase(path)
    path.write_bytes(b"\x89HDF\r\n")
    with pytest.raises(MapInputError, match="no SQLite database"):
        ColmapDatabase(path)
    path.unlink()
    change(path, "CREATE TABLE images (image_id INTEGER, name TEXT)")
    with pytest.raises(MapInputError, match="no table keypoints"):
        ColmapDatabase(path)
    with pytest.raises(MapInputError, match="int8"):
        ColmapDatabase(path, "int8")


def test_several_extractors(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write(path)
    change(path, "UPDATE descriptors SET type = 2 WHERE rows = 7")
    with pytest.raises(MapInputError, match="several extractors"):
        ColmapDatabase(path)


def test_truncation_and_changed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write(path)
    change(path, "DELETE FROM keypoints WHERE rows > 7", "DELETE FROM descriptors WHERE rows > 7", "VACUUM")
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    expected = features(1)[1]
    refused = 0
    for at in range(120):
        changed = bytearray(whole)
        if at % 2:
            changed = changed[: int(draw.integers(0, len(whole)))]
        else:
            place = int(draw.integers(0, len(whole) - 64))
            changed[place : place + 64] = draw.bytes(64)
        path.write_bytes(changed)
        try:
            with ColmapDatabase(path) as database:
                for name in database.names():
                    database.load(name)
        except MapInputError:
            refused += 1
    assert refused > 30
    path.write_bytes(whole)
    with ColmapDatabase(path) as database:
        np.testing.assert_array_equal(database.load(NAMES[1]).descriptors, expected)
