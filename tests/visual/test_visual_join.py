"""Features joined to a model: against the truth of generated scenes, and of a real model with fresh SIFT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, IntArray
from foldmap.visual.scene.join import JoinReport, join_features, join_global_descriptors
from foldmap.visual.source import Features, SceneModel, Tracks, unit_descriptors

IMAGES = 12
POINTS = 80


class Memory:
    """Features in memory."""

    def __init__(self, images: dict[str, Features], feature: str = "sift") -> None:
        self.images = images
        self.feature = feature

    def names(self) -> Sequence[str]:
        return list(self.images)

    def load(self, name: str) -> Features:
        return self.images[name]


def scene_of(names: Sequence[str], point: IntArray, image: IntArray, xy: AnyArray) -> SceneModel:
    order = np.lexsort((image, point))
    count = int(point.max()) + 1
    return SceneModel(
        cameras=(Camera("PINHOLE", 640, 480, np.array([500.0, 500, 320, 240])),),
        image_names=tuple(names),
        image_camera=np.zeros(len(names), dtype=np.int64),
        camera_SE3_world=np.tile(np.eye(4), (len(names), 1, 1)),
        points_world=np.zeros((count, 3)),
        tracks=Tracks(point[order], image[order], xy[order].astype(np.float32), None),
    )


def generated(turned_share: float, seed: int = 0) -> tuple[SceneModel, Memory, IntArray, AnyArray]:
    """Every point is in every image; some share their place with a keypoint of another orientation.

    Returns:
        The scene, the features, each observation's true keypoint, each observation's true descriptor.
    """
    rng = np.random.default_rng(seed)
    looks = rng.integers(0, 200, (2, POINTS, 128))
    turned = rng.uniform(size=(IMAGES, POINTS)) < turned_share
    if turned_share < 1:  # one image of each point leaves no choice, or nobody could know
        turned[np.arange(POINTS) % IMAGES, np.arange(POINTS)] = False
    images: dict[str, Features] = {}
    point, image, xy, truth, described = [], [], [], [], []
    for at in range(IMAGES):
        spots = np.stack(np.meshgrid(np.arange(10), np.arange(8)), -1).reshape(-1, 2) * 50 + 20
        places = spots + rng.uniform(-10, 10, (POINTS, 2))
        which = np.repeat(np.arange(POINTS), 1 + turned[at])
        second = np.r_[False, which[1:] == which[:-1]]
        # the orientation that the point was made of comes first or second, by chance
        flipped = rng.uniform(size=POINTS) < 0.5
        orientation = second ^ (flipped & turned[at])[which]
        codes = np.clip(looks[orientation.astype(int), which] + rng.integers(0, 25, (len(which), 128)), 0, 255)
        clutter = rng.uniform(600, 900, (30, 2))
        keypoints = np.concatenate([places[which], clutter]).astype(np.float32)
        codes = np.concatenate([codes, rng.integers(0, 256, (30, 128))]).astype(np.uint8)
        images[f"set/{at:02d}.jpg"] = Features(keypoints, codes)
        mine = np.flatnonzero(~orientation)
        point.append(which[mine])
        image.append(np.full(POINTS, at))
        xy.append(keypoints[mine])
        truth.append(mine)
        described.append(codes[mine])
    scene = scene_of(list(images), np.concatenate(point), np.concatenate(image), np.concatenate(xy))
    order = np.lexsort((np.concatenate(image), np.concatenate(point)))
    return scene, Memory(images), np.concatenate(truth)[order], np.concatenate(described)[order]


def reports() -> tuple[list[JoinReport], Callable[[JoinReport], None]]:
    told: list[JoinReport] = []
    return told, told.append


def test_by_index() -> None:
    scene, source, truth, described = generated(0.4)
    told, tell = reports()
    joined = join_features(scene, source, truth, report=tell)
    np.testing.assert_array_equal(joined.tracks.descriptors, described)
    assert joined.tracks.descriptors is not None
    assert joined.tracks.descriptors.dtype == np.uint8
    assert (told[0].by_index, told[0].by_place, told[0].fraction) == (IMAGES * POINTS, 0, 1.0)
    np.testing.assert_array_equal(joined.tracks.point, scene.tracks.point)


@pytest.mark.parametrize("turned_share", [0.0, 0.5, 0.9])
def test_by_place_the_track_decides_between_orientations(turned_share: float) -> None:
    scene, source, _, described = generated(turned_share)
    told, tell = reports()
    joined = join_features(scene, source, report=tell)
    np.testing.assert_array_equal(joined.tracks.descriptors, described)
    assert told[0].by_place == IMAGES * POINTS
    assert (told[0].ambiguous > 0) == (turned_share > 0)


def test_both_orientations_observed_stay_apart() -> None:
    """Two tracks in one place in every image: nobody knows which is which, yet each keeps one look."""
    scene, source, _, _ = generated(1.0)
    rows = scene.tracks
    both = Tracks(
        np.concatenate([rows.point, rows.point + POINTS]), np.tile(rows.image, 2), np.tile(rows.xy_px, (2, 1)), None
    )
    scene = replace(scene, points_world=np.zeros((2 * POINTS, 3)), tracks=both)
    joined = join_features(scene, source)
    assert joined.tracks.descriptors is not None
    codes = joined.tracks.descriptors.reshape(2, POINTS, IMAGES, 128).astype(float)
    spread = codes.std(axis=2).mean()
    between = np.abs(codes[0].mean(axis=1) - codes[1].mean(axis=1)).mean()
    assert spread < 10  # the noise that was put in has 7
    assert between > 40  # two looks drawn at random differ by 67


def test_order_tells_what_index_and_descriptor_cannot() -> None:
    """The model kept both orientations, renumbered without the clutter, and both look alike."""
    rng = np.random.default_rng(3)
    images: dict[str, Features] = {}
    for at in range(4):
        places = np.repeat(np.arange(20) * 30.0, 2)
        keypoints = np.concatenate([np.full((5, 2), 900), np.stack([places, places], 1)]).astype(np.float32)
        codes = rng.integers(0, 256, (45, 128)).astype(np.uint8)
        images[f"{at}.jpg"] = Features(keypoints, codes)
    point = np.tile(np.arange(40), 4)
    image = np.repeat(np.arange(4), 40)
    xy = np.concatenate([images[f"{at}.jpg"].xy_px[5:] for at in range(4)])
    scene = scene_of(list(images), point, image, xy)
    told, tell = reports()
    joined = join_features(scene, Memory(images), scene.tracks.point, report=tell)
    expected = np.stack([images[f"{i}.jpg"].descriptors[5 + p] for p in range(40) for i in range(4)])
    np.testing.assert_array_equal(joined.tracks.descriptors, expected)
    assert (told[0].by_index, told[0].by_place, told[0].ambiguous) == (0, 160, 0)


def test_tolerance_dropped_observations_and_points() -> None:
    scene, source, truth, described = generated(0.0)
    xy = scene.tracks.xy_px.copy()
    away = scene.tracks.point < 10
    some = (scene.tracks.point == 20) & (scene.tracks.image < 5)
    xy[away | some] += 7
    xy[~(away | some)] += np.float32(0.4)
    moved = replace(scene, tracks=replace(scene.tracks, xy_px=xy))
    for index in (None, truth):
        told, tell = reports()
        joined = join_features(moved, source, index, report=tell)
        assert len(joined.points_world) == POINTS - 10
        assert told[0].points_left == POINTS - 10
        np.testing.assert_array_equal(joined.tracks.descriptors, described[~(away | some)])
        np.testing.assert_array_equal(joined.tracks.point, scene.tracks.point[~(away | some)] - 10)
    with pytest.raises(MapInputError, match=r"do not match the model: 0\.0 %"):
        join_features(moved, source, tolerance_px=0.3)


def test_half_precision_keypoints_as_hloc_stores_them() -> None:
    """hloc rounds keypoints to half precision and adds 0.5 in it: up to 0.71 px apart below 2048 px."""
    scene, source, truth, described = generated(0.0)
    wide = {name: replace(f, xy_px=f.xy_px + np.float32(1000)) for name, f in source.images.items()}
    stored = {n: replace(f, xy_px=f.xy_px.astype(np.float16).astype(np.float32) + 0.5) for n, f in wide.items()}
    model_xy = ((scene.tracks.xy_px + np.float32(1000)).astype(np.float16) + np.float16(0.5)).astype(np.float32)
    moved = replace(scene, tracks=replace(scene.tracks, xy_px=model_xy))
    joined = join_features(moved, Memory(stored), truth)
    np.testing.assert_array_equal(joined.tracks.descriptors, described)


def changed(source: Memory, change: Callable[[Features], Features], name: str = "set/03.jpg") -> Memory:
    return Memory(source.images | {name: change(source.images[name])}, source.feature)


def test_features_that_do_not_match_are_named() -> None:
    scene, source, truth, _ = generated(0.2)
    fewer = Memory({n: Features(f.xy_px[90:], f.descriptors[90:]) for n, f in source.images.items()})
    with pytest.raises(MapInputError, match=r"keypoint \d+ in 'set/00.jpg', of which there are \d+ features"):
        join_features(scene, fewer, truth)
    larger = Memory({n: replace(f, xy_px=f.xy_px * 2) for n, f in source.images.items()})
    with pytest.raises(MapInputError, match="do not match the model") as caught:
        join_features(scene, larger, truth)
    assert "image size" in caught.value.cure
    with pytest.raises(MapInputError, match=r"'set/03.jpg' have dimension 64, those before 128"):
        join_features(scene, changed(source, lambda f: replace(f, descriptors=f.descriptors[:, :64])))
    with pytest.raises(MapInputError, match=r"'set/03.jpg' have type float32, those before uint8"):
        join_features(scene, changed(source, lambda f: replace(f, descriptors=f.descriptors.astype(np.float32))))
    with pytest.raises(MapInputError, match="128 values of type uint8, superpoint has 256"):
        join_features(scene, Memory(source.images, "superpoint"))
    short = Memory({n: f for n, f in source.images.items() if n < "set/03"})
    with pytest.raises(MapInputError, match=r"no features of image 'set/03.jpg' and 8 more of the model's 12"):
        join_features(scene, short)
    nothing = Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    with pytest.raises(MapInputError, match="no image of the model has a feature"):
        join_features(scene, Memory(dict.fromkeys(source.images, nothing)))
    with pytest.raises(MapInputError, match="shape"):
        join_features(scene, source, truth[:-1])
    bare = replace(scene, points_world=np.zeros((0, 3)), tracks=scene.tracks.take(np.zeros(len(truth), bool)))
    with pytest.raises(MapInputError, match="no observations"):
        join_features(bare, source)


def test_images_that_see_nothing_need_no_features() -> None:
    scene, source, truth, described = generated(0.0)
    seen = scene.tracks.image != 4
    blind = replace(scene, tracks=scene.tracks.take(seen))
    del source.images["set/04.jpg"]
    joined = join_features(blind, source, truth[seen])
    np.testing.assert_array_equal(joined.tracks.descriptors, described[seen])
    assert joined.image_names == scene.image_names


def test_global_descriptors() -> None:
    scene, _, _, _ = generated(0.0)
    rows = np.random.default_rng(0).normal(size=(IMAGES, 32)).astype(np.float32)

    class Rows:
        def load(self, name: str) -> AnyArray:
            row: AnyArray = rows[list(scene.image_names).index(name)]
            return row

    np.testing.assert_array_equal(join_global_descriptors(scene, Rows()).global_descriptors, rows)

    class Ragged(Rows):
        def load(self, name: str) -> AnyArray:
            return super().load(name)[: 16 if name.endswith("05.jpg") else 32]

    with pytest.raises(MapInputError, match=r"set/05.jpg"):
        join_global_descriptors(scene, Ragged())


@pytest.mark.shared
def test_fresh_sift_joins_a_real_model(shared_data: Path, tmp_path: Path) -> None:
    """The model kept COLMAP's keypoint indices, so the truth is known."""
    pycolmap = pytest.importorskip("pycolmap")
    folder = shared_data / "visual" / "redkitchen"
    model = pycolmap.Reconstruction(folder / "sparse")
    names = [f"frame-{number:06d}.color.jpg" for number in (100, 104, 108)]
    pycolmap.set_random_seed(0)
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = 1
    options.use_gpu = False
    pycolmap.extract_features(tmp_path / "f.db", folder / "images", names, extraction_options=options)
    point, image, xy, index = [], [], [], []
    source = Memory({})
    with pycolmap.Database.open(tmp_path / "f.db") as database:
        for entry in database.read_all_images():
            keypoints = np.asarray(database.read_keypoints(entry.image_id))
            codes = database.read_descriptors(entry.image_id)
            codes = np.asarray(getattr(codes, "data", codes))
            source.images[entry.name] = Features(np.ascontiguousarray(keypoints[:, :2], np.float32), codes)
    for at, name in enumerate(names):
        found = model.find_image_with_name(name)
        for place, spot in enumerate(found.points2D):
            if spot.has_point3D():
                point.append(spot.point3D_id)
                image.append(at)
                xy.append(spot.xy)
                index.append(place)
    _, dense = np.unique(point, return_inverse=True)
    scene = scene_of(names, dense, np.array(image), np.array(xy))
    keypoint = np.array(index)[np.lexsort((np.array(image), dense))]
    told, tell = reports()
    truth = join_features(scene, source, keypoint, report=tell)
    by_place = join_features(scene, source, report=tell)
    assert told[0].by_index == len(keypoint)
    assert told[1].fraction == 1.0
    assert truth.tracks.descriptors is not None
    assert by_place.tracks.descriptors is not None
    wrong = (truth.tracks.descriptors != by_place.tracks.descriptors).any(axis=1).sum()
    # a coin would be wrong in half; two tracks that share all their places may still swap looks without harm
    assert told[1].ambiguous > 500
    assert wrong < 0.35 * told[1].ambiguous
    assert agreement(by_place) > agreement(truth) - 0.005


def agreement(scene: SceneModel) -> float:
    """Mean cosine of an observation to the others of its track."""
    unit = unit_descriptors(scene.tracks.descriptors)
    sums = np.zeros((len(scene.points_world), unit.shape[1]))
    np.add.at(sums, scene.tracks.point, unit)
    others = sums[scene.tracks.point] - unit
    length = np.linalg.norm(others, axis=1)
    several = length > 1e-3
    return float((np.einsum("ij,ij->i", others, unit)[several] / length[several]).mean())


def test_descriptors_in_another_order_than_their_keypoints_are_refused() -> None:
    scene, memory, _, _ = generated(0.0)
    assert len(join_features(scene, memory).tracks) == len(scene.tracks)
    rng = np.random.default_rng(2)
    for name, found in memory.images.items():
        memory.images[name] = Features(found.xy_px, rng.permutation(found.descriptors))
    with pytest.raises(MapInputError, match="as unlike as those of others"):
        join_features(scene, memory)
