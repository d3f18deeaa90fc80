"""Views against cameras, pycolmap and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from point_shell import CAMERA, photo, pose_at, shell

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.visual.codes.viewing_codec import any_viewing
from foldmap.visual.match.view import View, prepare, sort_into_cells
from foldmap.visual.source import Features, Query

CAMERAS = {
    "pinhole": CAMERA,
    "opencv": Camera("OPENCV", 640, 480, np.array([500.0, 498, 318, 242, -0.12, 0.03, 1e-3, -8e-4])),
    "fisheye": Camera("OPENCV_FISHEYE", 640, 480, np.array([330.0, 331, 320, 240, 0.02, -0.01, 2e-3, -1e-4])),
}


def view_of(camera: Camera, seed: int = 0) -> tuple[View, np.ndarray, np.ndarray, np.ndarray]:
    points, looks = shell(seed, 1500)
    pose = pose_at(np.array([0.2, -0.1, 0.3]), 0.7, 0.1)
    query, who = photo(points, looks, pose, seed, camera, noise_px=0, clutter=0, share=1.0)
    return prepare(query), points, pose, who


@pytest.mark.parametrize("name", CAMERAS)
def test_points_project_onto_the_keypoints_that_saw_them_whatever_the_lens(name: str) -> None:
    view, points, pose, who = view_of(CAMERAS[name])
    xy, seen = view.project(pose, points[who])
    # keypoints are float32: 3e-5 px, more where a lens is stretched towards its rim
    assert seen.all()
    assert len(who) > 100
    assert np.abs(xy - view.xy_px).max() < 2e-3


@pytest.mark.parametrize("name", CAMERAS)
def test_ideal_places_are_pycolmaps(name: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    view, points, pose, who = view_of(CAMERAS[name])
    camera = CAMERAS[name]
    ideal = pycolmap.Camera(
        model="PINHOLE", width=640, height=480, params=[*camera.focal_px, *camera.centre_px], camera_id=1
    )
    local = points[who] @ pose[:3, :3].T + pose[:3, 3]
    assert np.allclose(view.project(pose, points[who])[0], ideal.img_from_cam(local), atol=1e-9)


@pytest.mark.parametrize("name", CAMERAS)
def test_in_view_is_project_in_one_pass(name: str) -> None:
    view, points, pose, _ = view_of(CAMERAS[name])
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = pose_at(np.zeros(3), 0.4)[:3, :3], [0.1, 0, 0.2]
    rig = View(**{**vars(view), "camera_SE3_rig": turned})
    for one in (view, rig):
        xy, seen = one.project(pose, points)
        rows, places = one.in_view(pose, points, any_viewing(len(points)))
        assert 0 < len(rows) < len(points)
        assert np.array_equal(rows, np.flatnonzero(seen))
        assert np.allclose(places, xy[seen], atol=1e-9)


def test_in_view_is_what_the_camera_sees_from_where_it_was_seen() -> None:
    view, points, pose, _ = view_of(CAMERAS["pinhole"])
    everywhere, _ = view.in_view(pose, points, any_viewing(len(points)))
    offset = -pose[:3, :3].T @ pose[:3, 3] - points
    distance = np.linalg.norm(offset, axis=1)
    rng = np.random.default_rng(3)
    towards = rng.normal(size=points.shape)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    cosine, near = rng.uniform(-1.0, 0.5, len(points)), distance * rng.uniform(0.5, 1.1, len(points))
    viewing = np.column_stack([towards, cosine, near, np.full(len(points), np.inf)])
    allowed = (np.einsum("pk,pk->p", towards, offset) >= cosine * distance) & (near <= distance)
    rows, _ = view.in_view(pose, points, viewing)
    assert 0 < len(rows) < len(everywhere)
    assert rows.tolist() == [row for row in everywhere.tolist() if allowed[row]]
    far = np.column_stack([any_viewing(len(points))[:, :5], 0.99 * distance])
    assert not len(view.in_view(pose, points, far)[0])


def test_cells_hold_every_keypoint_once_where_it_lies() -> None:
    rng = np.random.default_rng(0)
    for xy in (rng.uniform(-50, 700, (400, 2)), rng.uniform(0, 1e7, (50, 2)), np.zeros((0, 2)), np.full((3, 2), 5.0)):
        cells = sort_into_cells(xy, 8.0)
        assert sorted(cells.items.tolist()) == list(range(len(xy)))
        assert cells.columns <= 514
        assert cells.rows <= 514
        for row in range(cells.rows):
            for column in range(cells.columns):
                at = row * cells.columns + column
                inside = xy[cells.items[cells.first[at] : cells.first[at + 1]]]
                if len(inside):
                    corner = np.array(cells.low_px) + np.array([column, row]) * cells.side_px
                    assert (inside >= corner - 1e-6).all()
                    assert (inside <= corner + cells.side_px + 1e-6).all()


def test_extrinsics_must_be_a_pose() -> None:
    features = Features(np.zeros((1, 2), np.float32), np.ones((1, 4), np.float32))
    for wrong in (np.eye(3), np.full((4, 4), np.nan)):
        with pytest.raises(MapInputError, match="extrinsics"):
            prepare(Query("a", CAMERA, features, camera_SE3_rig=wrong))
