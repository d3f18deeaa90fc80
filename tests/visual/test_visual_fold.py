"""Scenes folded and unfolded: positions within tolerance, descriptors as decoded, bytes that add up, few tiles read."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from point_shell import scene

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError, LayerError, MapFormatError, MapInputError
from foldmap.runtime.threads import use_threads
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import DescriptorCodec, Product, Transform, raw_for
from foldmap.visual.codes.points_codec import tolerance_from_views
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer
from foldmap.visual.fold import GLOBALS_KEY, IMAGES_KEY, TILES_KEY, VisualPlan, VisualReport, fold_visual, split_boxes
from foldmap.visual.match.matching import DescriptorIndex
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.noise import reprojection_errors_px, reprojection_noise_px
from foldmap.visual.source import SceneModel, unit_descriptors
from foldmap.visual.tile import pack_tile, unpack_tile
from foldmap.visual.unfold import FoldedVisual


@cache
def made() -> tuple[SceneModel, np.ndarray]:
    model = scene(0, points=1600, images=16)
    return model, track_means(model)


def product(means: np.ndarray, parts: int = 8) -> Product:
    fitted = ProductQuantizer.fit(means, parts, centroids=64, seed=0)
    shape = LayerShape(means.shape[1], parts, 64, hidden=0)
    return Product(StoredLayer(shape, {"codebooks": np.asarray(fitted.codebooks, np.float32)}))


def fold(path: Path, plan: VisualPlan) -> VisualReport:
    model, means = made()
    with FoldWriter(path) as writer:
        report = fold_visual(writer, model, plan, means=means)
        writer.commit()
    return report


def everything(codec: DescriptorCodec | None = None, **how: object) -> VisualPlan:
    model, means = made()
    return VisualPlan(np.arange(len(model.points_world)), codec or raw_for(means), **how)  # type: ignore[arg-type]


def test_means_are_means_of_tracks() -> None:
    model, means = made()
    tracks = model.tracks
    assert tracks.descriptors is not None
    for point in (0, 1, 77, len(means) - 1):
        rows = unit_descriptors(tracks.descriptors[tracks.point == point]).astype(np.float64)
        mean = rows.mean(axis=0)
        assert np.allclose(means[point], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_noise_of_the_keypoints_is_found() -> None:
    model, _ = made()
    assert abs(reprojection_noise_px(model) - 0.5) < 0.02
    errors = reprojection_errors_px(model, model.tracks)
    assert errors.shape == (len(model.tracks), 2)
    assert np.abs(errors.mean(axis=0)).max() < 0.02


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("tile_points", [8192, 150])
def test_what_is_folded_comes_back(images: bool, tile_points: int, tmp_path: Path) -> None:
    model, means = made()
    codec = raw_for(means)
    kept = np.arange(0, len(model.points_world), 2)
    report = fold(tmp_path / "a.fold", VisualPlan(kept, codec, images=images, tile_points=tile_points))
    chosen = model.keep_points(kept)
    allowed = tolerance_from_views(chosen, report.error_px)
    assert report.points == len(kept)
    assert report.tiles == (1 if tile_points > len(kept) else 4)
    assert abs(report.error_px - report.noise_px / 3) < 1e-9
    with FoldFile.open(tmp_path / "a.fold") as file:
        folded = FoldedVisual(file)
        whole = folded.whole()
        apart = np.linalg.norm(whole.points_world[:, None] - chosen.points_world[None], axis=2)
        which = apart.argmin(axis=1)
        # descriptors tell neighbours apart: the one that resembles most of those within the tolerance
        decoded = codec.decode(codec.encode(means[kept]), len(kept))
        assert sorted(which.tolist()) == list(range(len(kept)))
        assert (apart[np.arange(len(which)), which] <= allowed[which] * (1 + 1e-9)).all()
        assert np.array_equal(whole.descriptors, decoded[which])
        if images:
            kept_images = folded.images()
            assert kept_images.image_names == model.image_names
            assert np.abs(kept_images.camera_SE3_world - model.camera_SE3_world).max() < 0.02


def test_each_group_sees_the_points_its_images_saw(tmp_path: Path) -> None:
    model, means = made()
    fold(tmp_path / "a.fold", everything(images=True, group=3, tile_points=300))
    seen = np.zeros((len(model.points_world), len(model.image_names)), bool)
    seen[model.tracks.point, model.tracks.image] = True
    with FoldFile.open(tmp_path / "a.fold") as file:
        folded = FoldedVisual(file)
        for image in (0, 7, 15):
            group = image // 3
            true = np.flatnonzero(seen[:, 3 * group : 3 * group + 3].any(axis=1))
            found = folded.seen_by(np.array([image]))
            similar = found.descriptors @ means.T
            assert sorted(similar.argmax(axis=1).tolist()) == true.tolist()


def test_bytes_add_up(tmp_path: Path) -> None:
    _, means = made()
    report = fold(tmp_path / "a.fold", everything(product(means), images=True, tile_points=300))
    with FoldFile.open(tmp_path / "a.fold") as file:
        info = file.layer("visual")
        tiles = {key: file.tile("visual", *key) for key in file.tiles("visual")}
        models = {m.name: file.model("visual", m.name) for m in info.models}
    points = sum(len(data) for key, data in tiles.items() if key[1] == 0 and data is not None)
    named = report.bytes["geometry"] + report.bytes["codes"] + report.bytes["visibility"]
    assert 0 < points - named <= 32 * report.tiles
    assert report.bytes["codec"] == len(models["codec"])
    assert report.bytes["retrieval"] == len(tiles[GLOBALS_KEY]) + len(models["vlad"])
    assert report.bytes["codes"] == 8 * report.points
    assert {IMAGES_KEY, TILES_KEY, GLOBALS_KEY} <= set(tiles)


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.fold", "b.fold"):
        fold(tmp_path / name, everything(images=True, tile_points=300))
    assert (tmp_path / "a.fold").read_bytes() == (tmp_path / "b.fold").read_bytes()


def test_part_of_a_map_reads_its_tiles_only_and_keeps_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = fold(tmp_path / "a.fold", everything(images=True, group=1, tile_points=60))
    read: list[tuple[int, int]] = []
    plain = FoldFile.tile

    def counted(self: FoldFile, layer: str, column: int, row: int) -> bytes | None:
        read.append((column, row))
        return plain(self, layer, column, row)

    monkeypatch.setattr(FoldFile, "tile", counted)
    with FoldFile.open(tmp_path / "a.fold") as file:
        folded = FoldedVisual(file, tiles_kept=4)
        assert not read
        some = folded.seen_by(np.array([3]))
        tiles = {key for key in read if key[1] == 0}
        assert 0 < len(some) < 0.3 * report.points
        assert len(tiles) < 0.6 * report.tiles
        assert len(folded._tiles) <= 4
        read.clear()
        assert len(FoldedVisual(file).whole()) == report.points
        assert len(read) == len(set(read)) == 2 * report.tiles


def test_boxes_hold_each_point_once_and_are_full() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1000, 3)) * [9, 1, 1]
    boxes = split_boxes(points, 100)
    assert sorted(np.concatenate(boxes).tolist()) == list(range(1000))
    assert all(50 <= len(box) <= 100 for box in boxes)
    assert np.mean([np.ptp(points[box, 0]) for box in boxes]) < 0.3 * np.ptp(points[:, 0])
    assert len(split_boxes(np.zeros((7, 3)), 2)) == 4


CODECS = ("raw", "pq", "transform")


def codec_named(name: str) -> DescriptorCodec:
    _, means = made()
    if name == "raw":
        return raw_for(means)
    if name == "pq":
        return product(means)
    return Transform(fit_basis(means, 30), 0.05, standard=False)


@pytest.mark.parametrize("name", CODECS)
def test_a_file_holds_all_that_its_codec_needs(name: str, tmp_path: Path) -> None:
    _, means = made()
    codec = codec_named(name)
    fold(tmp_path / "a.fold", everything(codec, images=False))
    with FoldFile.open(tmp_path / "a.fold") as file:
        folded = FoldedVisual(file)
        descriptors = folded.whole().descriptors
        assert folded.codec.parameters() == codec.parameters()
    nearest = (descriptors @ means.T).max(axis=1)
    assert np.median(nearest) > {"raw": 0.999, "pq": 0.6, "transform": 0.97}[name]
    assert np.abs(np.linalg.norm(descriptors, axis=1) - 1).max() < 1e-5


def test_what_lies_in_a_span_is_compared_there(tmp_path: Path) -> None:
    _, means = made()
    fold(tmp_path / "a.fold", everything(Transform(fit_basis(means, 20), 0.05, standard=False), images=False))
    with FoldFile.open(tmp_path / "a.fold") as file:
        whole = FoldedVisual(file).whole()
    assert whole.span is not None
    assert whole.looks.shape[1] == 21 < means.shape[1]
    cosines = whole.descriptors.astype(np.float64) @ means.astype(np.float64).T
    assert np.abs(whole.looks @ (means @ whole.span).T - cosines).max() < 1e-5
    plain, shorter = (index.match(means) for index in (DescriptorIndex(whole.descriptors), whole.index))
    nearest = [dict(zip(found.keypoint.tolist(), found.point.tolist(), strict=True)) for found in (plain, shorter)]
    assert nearest[0] == nearest[1]
    assert all(codec_named(name).span is None for name in ("raw", "pq", "transform"))  # the last has too wide a one


def test_tiles_are_the_same_whoever_decodes_them(tmp_path: Path) -> None:
    fold(tmp_path / "a.fold", everything(Transform(fit_basis(made()[1], 20), 0.05), images=True, tile_points=60))
    before = use_threads(2)
    try:
        with FoldFile.open(tmp_path / "a.fold") as file:
            one, other = FoldedVisual(file), FoldedVisual(file)
            one.load()
            for number in range(one.tiles):
                mine, theirs = one.tile(number), other.tile(number)
                for name in ("points_world", "looks", "visible", "seen_from"):
                    assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
            few = FoldedVisual(file, tiles_kept=2)
            few.load()
            assert sorted(few._tiles) == [0, 1]
    finally:
        use_threads(before)


def test_plans_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    model, means = made()
    with FoldWriter(tmp_path / "a.fold") as writer:
        with pytest.raises(MapInputError, match="no points are kept"):
            fold_visual(writer, model, VisualPlan(np.zeros(0, np.int64), raw_for(means)), means=means)
        with pytest.raises(MapInputError, match="do not fit"):
            fold_visual(writer, model, everything(), means=means[:-1])
        with pytest.raises(ConfigError, match="tiles of 0"):
            fold_visual(writer, model, everything(tile_points=0), means=means)
    bare = SceneModel(**{**vars(model), "tracks": replace(model.tracks, descriptors=None)})
    with pytest.raises(MapInputError, match="no descriptors"):
        track_means(bare)


def test_layers_of_another_kind_and_maps_without_images_say_so(tmp_path: Path) -> None:
    fold(tmp_path / "a.fold", everything(images=False))
    with FoldFile.open(tmp_path / "a.fold") as file, pytest.raises(LayerError, match="keeps no images"):
        FoldedVisual(file).images()
    with FoldWriter(tmp_path / "b.fold") as writer:
        writer.add_layer("visual", "lidar", {})
    with FoldFile.open(tmp_path / "b.fold") as file, pytest.raises(LayerError, match="lidar layer"):
        FoldedVisual(file)


def test_a_tile_refuses_what_was_not_packed() -> None:
    model, means = made()
    codec = raw_for(means)
    points, looks = model.points_world[:60], means[:60]
    visible = np.random.default_rng(0).random((60, 10)) < 0.3
    visible[:, 4] = False
    packed, order, _ = pack_tile(points, np.full(60, 0.01), looks, visible, codec)
    tile = unpack_tile(packed, codec, 10)
    assert tile.visible is not None
    assert np.array_equal(tile.visible, visible[order])
    assert np.linalg.norm(tile.points_world - points[order], axis=1).max() <= 0.01
    for payload, groups in (
        (packed[:10], 10),
        (packed + b"\0", 10),
        (packed, 0),
        (packed, 9),
        (packed, 17),
        (b"\2" + packed[1:], 10),
    ):
        with pytest.raises(MapFormatError):
            unpack_tile(payload, codec, groups)


def test_what_no_reader_would_decode_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("foldmap.visual.fold.MAX_DECISIONS", 10)
    with pytest.raises(ConfigError, match="more than a reader decodes"):
        fold(tmp_path / "a.fold", everything(images=True, group=1))
    assert not (tmp_path / "a.fold").exists()
