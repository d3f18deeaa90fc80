"""Retrieval finds the images that see what a query sees; vectors and votes are those of plain twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corridor import SEEN, corridor, descriptors_of_places, noisy, seen
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_samples import colmap_scene

from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.geometry.camera import Camera
from foldmap.visual.codes.global_codec import decode_globals, encode_globals
from foldmap.visual.codes.visibility_codec import visibility_matrix
from foldmap.visual.features.extract import ExtractorSettings, SiftExtractor
from foldmap.visual.features.images import read_image
from foldmap.visual.retrieval.image_index import Retriever, fold_retrieval
from foldmap.visual.retrieval.vlad import Vlad, describe_images, fit_vlad
from foldmap.visual.source import Features, Query, SceneModel

SMALL = Vlad.fit(descriptors_of_places(60, 16), words=4, rank=4).to_bytes()
CAMERA = Camera("SIMPLE_PINHOLE", 640, 480, np.array([500.0, 320.0, 240.0]))


def query_of(descriptors: np.ndarray, vector: np.ndarray | None = None) -> Query:
    xy = np.zeros((len(descriptors), 2), np.float32)
    return Query("q.jpg", CAMERA, Features(xy, descriptors), vector)


def plain_vlad(vlad: Vlad, descriptors: np.ndarray) -> np.ndarray:
    """Word by word, descriptor by descriptor."""
    axes = vlad.axes.astype(float) * vlad.axis_scale
    words = vlad.words.astype(float) * vlad.word_scale
    total = np.zeros((len(words), vlad.left))
    for row in descriptors.astype(float):
        reduced = (row / np.linalg.norm(row) - vlad.mean.astype(float)) @ axes
        nearest = int(np.argmin([np.sum((reduced - word) ** 2) for word in words]))
        total[nearest] += (reduced - words[nearest])[: vlad.left]
    for word in range(len(words)):
        total[word] = np.sign(total[word]) * np.sqrt(np.abs(total[word]))
        total[word] /= np.linalg.norm(total[word]) or 1.0
    return total.ravel() / np.linalg.norm(total)


@pytest.mark.parametrize("dimension", [64, 128, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_vector_is_that_of_a_plain_twin(dimension: int, dtype: type) -> None:
    rows = descriptors_of_places(700, dimension)
    rows = np.clip(rows * 512 + 100, 0, 255).astype(np.uint8) if dtype == np.uint8 else rows
    vlad = Vlad.fit(rows[:500], words=12, rank=10, left=3)
    vector = vlad.describe(rows[500:])
    assert vector.shape == (36,)
    twin = plain_vlad(vlad, rows[500:])
    # squared, because the root makes the rounding of a sum near zero large
    np.testing.assert_allclose(vector * np.abs(vector), twin * np.abs(twin), atol=2e-4)
    assert np.linalg.norm(vector - twin) < 2e-3
    np.testing.assert_allclose(vlad.describe(rows[500:][::-1]), vector, atol=1e-4)


def test_axes_are_the_principal_ones() -> None:
    rows = descriptors_of_places(3000, 64)
    vlad = Vlad.fit(rows, rank=8)
    axes = vlad.axes.astype(float) * vlad.axis_scale
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    kept = np.var((rows - rows.mean(0)) @ axes, axis=0, ddof=1)
    np.testing.assert_allclose(kept, values[:8], rtol=0.02)


def test_the_same_input_gives_the_same_bytes_and_bytes_the_same_vector() -> None:
    rows = descriptors_of_places(2000, 64)
    vlad = Vlad.fit(rows, seed=3)
    payload = vlad.to_bytes()
    assert Vlad.fit(rows, seed=3).to_bytes() == payload
    assert Vlad.fit(rows, seed=4).to_bytes() != payload
    again = Vlad.from_bytes(payload)
    assert again.to_bytes() == payload
    assert (again.describe(rows[:50]) == vlad.describe(rows[:50])).all()
    assert len(payload) < 64 * 16 + 256 * 16 + 64 * 2 + 2 * 64 + 700


def test_axes_do_not_depend_on_the_order_of_sums() -> None:
    """Whole-numbered sums are exact: any order, hence any number of threads, gives the same axes and vectors."""
    rows = descriptors_of_places(3000, 64)
    mixed = rows[np.random.default_rng(0).permutation(3000)]
    one, other = Vlad.fit(rows), Vlad.fit(mixed)
    assert (one.axes == other.axes).all()
    assert (one.axis_scale == other.axis_scale).all()
    assert (one.mean == other.mean).all()


def test_few_or_equal_descriptors_still_make_a_vocabulary() -> None:
    rows = descriptors_of_places(5, 64)
    assert np.isfinite(Vlad.fit(rows).describe(rows)).all()
    same = np.tile(rows[:1], (40, 1))
    assert np.isfinite(Vlad.fit(same).describe(rows)).all()


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_truncated_vocabularies_are_refused(cut: int) -> None:
    with pytest.raises(ModelError):
        Vlad.from_bytes(Vlad.fit(descriptors_of_places(100, 32)).to_bytes()[:cut])


def test_hostile_vocabularies_are_refused() -> None:
    good = Vlad.fit(descriptors_of_places(100, 32), words=4, rank=4)
    arrays = {name: getattr(good, name) for name in ("mean", "axes", "axis_scale", "words", "word_scale", "left")}
    nan = np.full(4, np.nan, np.float32)
    for bad in (
        {"words": arrays["words"][:, :3]},
        {"words": arrays["words"].ravel()},
        {"words": np.zeros((0, 4), np.int8)},
        {"words": np.zeros((5000, 4), np.int8)},
        {"axes": arrays["axes"].astype(np.float32)},
        {"axes": np.zeros((2, 4), np.int8)},
        {"axis_scale": nan},
        {"word_scale": -arrays["word_scale"]},
        {"mean": np.full(32, np.inf, np.float16)},
        {"mean": arrays["mean"][:5]},
        {"left": 0},
        {"left": 5},
    ):
        with pytest.raises(ModelError):
            Vlad(**{**arrays, **bad})


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_still_describes(at: int, value: int) -> None:
    payload = bytearray(SMALL)
    payload[at % len(payload)] = value
    try:
        vlad = Vlad.from_bytes(bytes(payload))
    except ModelError:
        return
    assert np.isfinite(vlad.describe(descriptors_of_places(9, vlad.dimension))).all()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((0, 64), np.float32), "without keypoints"),
        (np.full((3, 64), np.nan, np.float32), "NaN"),
        (np.ones((3, 32), np.float32), "of 32 numbers"),
        (np.ones(64, np.float32), "shape"),
    ],
)
def test_descriptors_that_cannot_be_used(rows: np.ndarray, says: str) -> None:
    with pytest.raises(MapInputError, match=says):
        Vlad.fit(descriptors_of_places(200, 64)).describe(rows)


def test_a_vocabulary_of_nothing_is_refused() -> None:
    with pytest.raises(MapInputError, match="no descriptor"):
        Vlad.fit(np.zeros((0, 64), np.float32))
    with pytest.raises(ConfigError):
        Vlad.fit(descriptors_of_places(9, 64), words=0)


@pytest.mark.parametrize("dimension", [64, 128])
def test_a_place_is_found_in_its_folded_form(dimension: int) -> None:
    """Queries stand between two images; both see nearly all that the query sees."""
    scene, truth = corridor(dimension=dimension)
    folded = fold_retrieval(scene)
    assert folded.size < 40 * 128 + 13_000
    retriever = Retriever.stored(folded.images, folded.vlad)
    rng = np.random.default_rng(5)
    shares = []
    for image in range(0, 39, 3):
        at = image * 12 + 6
        clutter = descriptors_of_places(60, dimension, seed=100 + image)
        ranking = retriever.rank(query_of(np.concatenate([noisy(truth[at : at + SEEN], rng), clutter])), 5)
        assert len(ranking) == 5
        best = set(seen(int(ranking[0])))
        shares.append(len(best & set(range(at, at + SEEN))) / SEEN)
    assert np.mean(shares) > 0.8


def test_the_users_global_descriptors_are_taken() -> None:
    scene, truth = corridor()
    vectors = np.random.default_rng(2).normal(size=(40, 96)).astype(np.float32)
    scene = with_globals(scene, vectors)
    folded = fold_retrieval(scene)
    assert folded.vlad is None
    retriever = Retriever.stored(folded.images, None)
    for image in (0, 17, 39):
        assert retriever.rank(query_of(truth[:5], vectors[image]), 1)[0] == image
    with pytest.raises(MapInputError, match="no global descriptor"):
        retriever.rank(query_of(truth[:5]), 1)
    with pytest.raises(MapInputError, match="of 95 numbers"):
        retriever.rank(query_of(truth[:5], vectors[0, :95]), 1)
    with pytest.raises(MapInputError, match="NaN"):
        retriever.rank(query_of(truth[:5], np.full(96, np.nan, np.float32)), 1)


def with_globals(scene: SceneModel, vectors: np.ndarray) -> SceneModel:
    return SceneModel(
        scene.cameras, scene.image_names, scene.image_camera, scene.camera_SE3_world, scene.points_world, scene.tracks,
        global_descriptors=vectors,
    )  # fmt: skip


def test_search_is_exact_and_equals_come_in_order() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 20))
    rows[200] = 3 * rows[100]
    query = rows[100] + 0.1 * rng.normal(size=20)
    ranking = Retriever(rows).search(query, 7)
    cosine = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    np.testing.assert_allclose(cosine[ranking], np.sort(cosine)[::-1][:7], atol=1e-5)
    assert set(ranking[:2]) == {100, 200}
    assert len(Retriever(rows).search(query, 1000)) == 300
    assert len(Retriever(np.zeros((0, 20))).search(query, 5)) == 0
    tied = Retriever(np.ones((6, 4))).search(np.ones(4), 6)
    assert tied.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ConfigError):
        Retriever(rows).search(query, 0)


def test_images_that_observed_nothing_are_zeros_and_scenes_without_descriptors_refused() -> None:
    scene, _ = corridor(images=6)
    scene = scene.keep_points(np.arange(scene.tracks.point[scene.tracks.image == 1].min()))
    assert set(scene.tracks.image.tolist()) == {0}
    vectors = describe_images(scene, fit_vlad(scene))
    assert np.linalg.norm(vectors[0]) == pytest.approx(1)
    assert not vectors[1:].any()
    bare = with_globals(scene, vectors)
    object.__setattr__(bare.tracks, "descriptors", None)
    with pytest.raises(MapInputError, match="no descriptors"):
        fit_vlad(bare)


def test_parts_of_two_maps_do_not_fit() -> None:
    with pytest.raises(MapInputError, match="one map"):
        Retriever(np.ones((3, 100)), Vlad.fit(descriptors_of_places(80, 64)))


@pytest.mark.shared
def test_real_photos_find_those_that_share_their_points(shared_data: Path) -> None:
    """Every 20th frame is the map, frames ten later the queries; COLMAP's tracks say what they share."""
    pycolmap = pytest.importorskip("pycolmap")
    folder = shared_data / "visual" / "redkitchen"
    _, scene = colmap_scene(pycolmap, folder / "sparse")
    count = len(scene.image_names)
    chosen, queries = np.arange(0, count, 20), np.arange(10, count, 40)
    extractor = SiftExtractor(ExtractorSettings(max_keypoints=1500, first_octave=0))
    described = {
        int(i): extractor.extract(read_image(folder / "images" / scene.image_names[i])).descriptors
        for i in (*chosen, *queries)
    }
    vlad = Vlad.fit(np.concatenate([described[int(i)] for i in chosen]))
    vectors = np.stack([vlad.describe(described[int(i)]) for i in chosen])
    index = Retriever(decode_globals(encode_globals(vectors, "1 bit")))
    seen = visibility_matrix(scene.tracks.point, scene.tracks.image, (len(scene.points_world), count))
    shared = seen[:, queries].astype(np.int64).T @ seen[:, chosen]
    found = [int(index.search(vlad.describe(described[int(i)]), 1)[0]) for i in queries]
    got = shared[np.arange(len(queries)), found]
    assert got.mean() > 0.8 * shared.max(axis=1).mean()
    assert got.mean() > 2 * shared.mean()
