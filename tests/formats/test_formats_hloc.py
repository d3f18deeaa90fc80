"""hloc's HDF5 files: read what hloc's own calls of h5py write, refuse what is broken."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.hloc.features import MAX_KEYPOINTS, HlocFeatures, HlocFeatureWriter, HlocGlobals
from foldmap.types import AnyArray
from foldmap.visual.source import Features

NAMES = ["db/1.jpg", "db/2.jpg", "query/night/nexus/a.jpg", "straße/größe.png", "flat.png"]


def as_hloc(path: Path, name: str, half: bool = True, **arrays: AnyArray) -> None:
    """Append one image the way hloc's extraction does: a group by name, as_half."""
    with h5py.File(path, "a", libver="latest") as file:
        group = file.create_group(name)
        for key, value in arrays.items():
            array = np.asarray(value)
            group.create_dataset(key, data=array.astype(np.float16) if half and array.dtype == np.float32 else array)
        if "keypoints" in arrays:
            group["keypoints"].attrs["uncertainty"] = 1.0


def image(seed: int, count: int = 30, size: int = 256) -> dict[str, AnyArray]:
    rng = np.random.default_rng(seed)
    return {
        "keypoints": rng.uniform(0, 500, (count, 2)).astype(np.float32),
        "descriptors": rng.normal(size=(size, count)).astype(np.float32),
        "scores": rng.uniform(0, 1, count).astype(np.float32),
        "image_size": np.array([640, 480]),
    }


def test_reads_what_hloc_writes(tmp_path: Path) -> None:
    path = tmp_path / "feats-superpoint-n4096-r1024.h5"
    written = {name: image(seed) for seed, name in enumerate(NAMES)}
    for name, arrays in written.items():
        as_hloc(path, name, **arrays)
    with HlocFeatures(path) as source:
        assert source.feature == "superpoint"
        assert list(source.names()) == sorted(NAMES)
        for name, arrays in written.items():
            found = source.load(name)
            # the first pixel's centre is (0, 0) there and (0.5, 0.5) here
            np.testing.assert_array_equal(found.xy_px, arrays["keypoints"].astype(np.float16).astype(np.float32) + 0.5)
            np.testing.assert_array_equal(found.descriptors, arrays["descriptors"].astype(np.float16).T)
            assert found.descriptors.dtype == np.float16
            assert found.scores is not None
            np.testing.assert_array_equal(found.scores, arrays["scores"].astype(np.float16).astype(np.float32))
    assert HlocFeatures(path, feature="mine").feature == "mine"


def test_writes_what_hloc_reads_and_the_same_bytes_twice(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    xy = rng.uniform(0.5, 3000, (40, 2)).astype(np.float32)
    codes = rng.integers(0, 256, (40, 128), dtype=np.uint8)
    floats = rng.normal(size=(40, 64)).astype(np.float32)
    for name in ("one.h5", "two.h5"):
        with HlocFeatureWriter(tmp_path / name, "sift") as writer:
            writer.add("a/ü.jpg", Features(xy, codes, xy[:, 0]), (3000, 2000))
            writer.add("b.jpg", Features(xy, floats))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.h5", "two.h5"]
    with h5py.File(tmp_path / "one.h5", "r") as file:
        group = file["a/ü.jpg"]
        assert {key: (item.shape, item.dtype) for key, item in group.items()} == {
            "keypoints": ((40, 2), np.float32),
            "descriptors": ((128, 40), np.uint8),
            "scores": ((40,), np.float16),
            "image_size": ((2,), np.int64),
        }
        np.testing.assert_array_equal(group["keypoints"][()], xy - np.float32(0.5))
        assert file["b.jpg/descriptors"].dtype == np.float16
    with HlocFeatures(tmp_path / "one.h5") as source:
        assert source.feature == "sift"
        back = source.load("a/ü.jpg")
        np.testing.assert_allclose(back.xy_px, xy, atol=3e-4)  # half an ulp of float32 at 3000 px, twice
        np.testing.assert_array_equal(back.descriptors, codes)
        with pytest.raises(MapInputError, match=r"no image 'a/u\.jpg'.*2 images"):
            source.load("a/u.jpg")


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    features = Features(np.ones((1, 2), np.float32), np.ones((1, 4), np.uint8))
    with HlocFeatureWriter(tmp_path / "f.h5", "sift") as writer:
        writer.add("a", features)
    before = (tmp_path / "f.h5").read_bytes()

    def twice() -> None:
        with HlocFeatureWriter(tmp_path / "f.h5", "sift") as writer:
            writer.add("b", features)
            writer.add("b", features)

    with pytest.raises(WriteError, match="'b'"):
        twice()
    assert (tmp_path / "f.h5").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "f.h5"]
    many = Features(np.zeros((MAX_KEYPOINTS + 1, 2), np.float32), np.zeros((MAX_KEYPOINTS + 1, 1), np.uint8))
    with pytest.raises(MapInputError, match="32768"), HlocFeatureWriter(tmp_path / "g.h5", "sift") as writer:
        writer.add("a", many)
    with pytest.raises(WriteError):
        HlocFeatureWriter(tmp_path / "missing" / "f.h5", "sift")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((30, 4), np.float32)}, "shape"),
        ({"keypoints": np.zeros((31, 2), np.float32)}, "31 keypoints"),
        ({"keypoints": np.zeros(60, np.float32)}, "2 axes"),
        ({"descriptors": np.zeros((30, 256), np.float32)}, "transposed"),
        ({"descriptors": np.full((256, 30), np.nan, np.float32)}, "NaN"),
        ({"descriptors": np.zeros((256, 30), np.int32)}, "int32"),
        ({"keypoints": np.full((30, 2), np.inf, np.float32)}, "NaN or infinite"),
        ({"scores": np.zeros(29, np.float32)}, "scores"),
        ({"descriptors": np.full((256, 30), b"x")}, "numbers"),
        (
            {"keypoints": np.zeros((32768, 2), np.float32), "descriptors": np.zeros((2, 32768), np.float32)},
            "32768 keypoints",
        ),
        ({"descriptors": None}, "no descriptors"),
    ],
)
def test_broken_features_are_named(tmp_path: Path, change: dict[str, AnyArray], message: str) -> None:
    path = tmp_path / "f.h5"
    as_hloc(path, "db/x.jpg", **{key: value for key, value in (image(0) | change).items() if value is not None})
    with HlocFeatures(path) as source, pytest.raises(MapInputError, match=message) as caught:
        source.load("db/x.jpg")
    assert "db/x.jpg" in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    for seed in range(8):
        as_hloc(path, f"{seed}.jpg", **image(seed, 200))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for case in range(60):
        damaged = bytearray(whole)
        if case % 2:
            damaged = damaged[: rng.integers(0, len(whole))]
        else:
            for at in rng.integers(0, min(len(whole), 4096), 8):
                damaged[at] ^= 1 << rng.integers(0, 8)
        (tmp_path / "bad.h5").write_bytes(damaged)
        try:
            with HlocFeatures(tmp_path / "bad.h5") as source:
                for name in source.names():
                    source.load(name)
        except MapInputError:
            refused += 1
    assert refused >= 30
    (tmp_path / "text.h5").write_text("no HDF5")
    for bad in ("text.h5", "missing.h5", "."):
        with pytest.raises(MapInputError):
            HlocFeatures(tmp_path / bad)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with HlocFeatures(tmp_path / "empty.h5") as source, pytest.raises(MapInputError, match="holds no keypoints"):
        source.names()


def test_declared_sizes_and_links_are_not_trusted(tmp_path: Path) -> None:
    as_hloc(tmp_path / "outside.h5", "a.jpg", **image(0))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_group("big.jpg").create_dataset("keypoints", shape=(1 << 40, 2), dtype="f4", chunks=(1024, 2))
        file["link.jpg"] = h5py.ExternalLink("outside.h5", "a.jpg")
    with HlocFeatures(tmp_path / "f.h5") as source:
        assert list(source.names()) == ["big.jpg"]
        with pytest.raises(MapInputError, match="declares"):
            source.load("big.jpg")
        with pytest.raises(MapInputError, match="no image"):
            source.load("link.jpg")


def test_global_descriptors(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    names = ["a/1.jpg", "a/2.jpg", "ñ.jpg"]
    for name, row in zip(names, rows, strict=True):
        as_hloc(tmp_path / "g.h5", name, half=False, global_descriptor=row)
    as_hloc(tmp_path / "g.h5", "half.jpg", global_descriptor=rows[0])
    as_hloc(tmp_path / "g.h5", "other.jpg", global_descriptor=rows[0, :8])
    as_hloc(tmp_path / "g.h5", "nan.jpg", global_descriptor=np.float32([np.nan]))
    with HlocGlobals(tmp_path / "g.h5") as source:
        np.testing.assert_array_equal(source.stack(names), rows)
        np.testing.assert_array_equal(source.load("half.jpg"), rows[0].astype(np.float16).astype(np.float32))
        for bad, message in (("missing", "no image"), ("nan.jpg", "NaN")):
            with pytest.raises(MapInputError, match=message):
                source.load(bad)
        with pytest.raises(MapInputError, match="8 values"):
            source.stack(["half.jpg", "other.jpg"])


def test_normalized_keypoints_are_refused(tmp_path: Path) -> None:
    kept = image(3, 60)
    as_hloc(tmp_path / "f.h5", "pixels.jpg", **kept)
    as_hloc(tmp_path / "f.h5", "shares.jpg", **kept | {"keypoints": kept["keypoints"] / 1000})
    with HlocFeatures(tmp_path / "f.h5") as source:
        assert len(source.load("pixels.jpg").xy_px) == 60
        with pytest.raises(MapInputError, match=r"'shares\.jpg'.* shares of the image, not pixels"):
            source.load("shares.jpg")
