"""Scenes that changed in places: the tiles there are written, and the file is as if the scene had been folded anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from point_shell import scene

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.errors import MapInputError
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import DescriptorCodec, Raw, Transform, raw_for
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import SceneModel
from foldmap.visual.unfold import FoldedVisual
from foldmap.visual.update import VisualUpdate, update_visual

WHOLE = scene(0, points=1600, images=16)
POINTS = len(WHOLE.points_world)
MEANS = track_means(WHOLE)


def codec_named(name: str) -> DescriptorCodec:
    return raw_for(MEANS) if name == "raw" else Transform(fit_basis(MEANS, 30), 0.05, standard=False)


def folded(path: Path, model: SceneModel, kept: np.ndarray | None = None, codec: str = "raw", **how: object) -> Path:
    every = np.arange(len(model.points_world)) if kept is None else kept
    with FoldWriter(path) as writer:
        plan = VisualPlan(every, codec_named(codec), **{"tile_points": 80, **how})  # type: ignore[arg-type]
        fold_visual(writer, model, plan)
    return path


def update(path: Path, model: SceneModel, **how: object) -> VisualUpdate:
    with FoldUpdater(path) as updater:
        return update_visual(updater, model, **how)  # type: ignore[arg-type]


def tiles_in(path: Path) -> dict[tuple[int, int], bytes | None]:
    with FoldFile.open(path) as file:
        return {key: file.tile("visual", *key) for key in file.tiles("visual")}


def without(model: SceneModel, gone: np.ndarray) -> SceneModel:
    return model.keep_points(~gone)


def corner(model: SceneModel, share: float = 0.05) -> np.ndarray:
    """The points in one direction."""
    ahead = model.points_world @ np.array([1.0, 0.3, 0.2])
    return ahead > np.quantile(ahead, 1 - share)


@pytest.mark.parametrize("codec", ["raw", "transform"])
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_an_update_of_nothing_changes_nothing(tmp_path: Path, codec: str, images: bool, every: int) -> None:
    path = folded(tmp_path / "a.fold", WHOLE, np.arange(0, POINTS, every), codec, images=images)
    before = path.read_bytes()
    done = update(path, WHOLE)
    assert (done.changed, done.removed, done.added, done.lost) == ((), (), 0, 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("images", [False, True])
def test_points_that_go_and_come_change_the_tiles_there(tmp_path: Path, images: bool) -> None:
    gone = corner(WHOLE)
    path = folded(tmp_path / "a.fold", WHOLE, codec="transform", images=images)
    before = tiles_in(path)
    done = update(path, without(WHOLE, gone))
    assert (done.lost, done.added, done.points) == (gone.sum(), 0, (~gone).sum())
    assert 0 < len(done.changed) <= 4 < done.kept
    after = tiles_in(path)
    assert {key for key in before if key[1] == 0 and after.get(key) != before[key]} == {
        (number, 0) for number in (*done.changed, *done.removed)
    }
    anew = folded(tmp_path / "b.fold", without(WHOLE, gone), codec="transform", images=images)
    with FoldFile.open(path) as one, FoldFile.open(anew) as other:
        here, there = FoldedVisual(one), FoldedVisual(other)
        assert here.points == there.points
        away = [
            np.linalg.norm(x[:, None] - y[None], axis=2).min(axis=1).max()
            for x, y in (
                (here.whole().points_world, there.whole().points_world),
                (there.whole().points_world, here.whole().points_world),
            )
        ]
        assert max(away) < 0.05 * WHOLE.radius_world
        assert (here.whole().descriptors @ there.whole().descriptors.T).max(axis=1).min() > 0.95
        if images:
            for image in (0, 7):
                assert abs(len(here.seen_by(np.array([image]))) - len(there.seen_by(np.array([image])))) <= 1
            assert here.images().image_names == there.images().image_names
    back = update(path, WHOLE)
    assert (back.added, back.lost, back.points) == (gone.sum(), 0, POINTS)
    assert len(back.changed) <= 4


def test_a_file_of_chosen_points_takes_as_many_as_it_lost(tmp_path: Path) -> None:
    kept = np.arange(0, POINTS, 4)
    path = folded(tmp_path / "a.fold", WHOLE, kept)
    gone = corner(WHOLE, 0.1) & np.isin(np.arange(POINTS), kept)
    done = update(path, without(WHOLE, gone))
    assert (done.points, done.added, done.lost) == (len(kept), gone.sum(), gone.sum())
    assert update(path, without(WHOLE, gone), points=300).points == 300


def test_tiles_that_lose_everything_are_removed(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", WHOLE, images=True)
    with FoldFile.open(path) as file:
        first = FoldedVisual(file).tile(0).points_world
    apart = np.linalg.norm(WHOLE.points_world[:, None] - first[None], axis=2).min(axis=1)
    gone = np.zeros(POINTS, bool)
    gone[np.argsort(apart)[: len(first)]] = True
    done = update(path, without(WHOLE, gone))
    assert done.removed == (15,)
    with FoldFile.open(path) as file:
        layer = FoldedVisual(file)
        assert (layer.tiles, len(layer.whole())) == (15, layer.points)
        assert len(layer.seen_by(np.array([3]))) > 0


def test_what_does_not_fit_says_to_fold_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.fold"
    with FoldWriter(path) as writer:  # a codec that clips what is new
        fold_visual(writer, WHOLE, VisualPlan(np.arange(POINTS), Raw(MEANS.shape[1], -0.2, 0.2), tile_points=80))
    before = path.read_bytes()
    assert WHOLE.tracks.descriptors is not None
    strange = WHOLE.tracks.descriptors.copy()
    strange[corner(WHOLE, 0.5)[WHOLE.tracks.point]] = [1.0] + 15 * [0.15] + 16 * [0.0]
    moved = replace(WHOLE, points_world=WHOLE.points_world + 1.0)
    for changed, words in (
        (replace(WHOLE, feature="aliked-n16"), "aliked-n16"),
        (moved, "another frame"),
        (replace(WHOLE, tracks=replace(WHOLE.tracks, descriptors=strange)), "codec does not fit"),
    ):
        with pytest.raises(MapInputError, match=words) as caught:
            update(path, changed)
        assert "fold the scene anew" in caught.value.cure
    assert path.read_bytes() == before
