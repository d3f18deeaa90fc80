"""Networks from photos to poses: built with known poses, folded with a basis of the map's own, localized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photo_room import CAMERA, photograph, poses, write_photos

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.cli.build.visual import build_visual
from foldmap.formats.scenes import read_scene
from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.features.extract import ExtractorSettings, open_extractor
from foldmap.visual.fold import VisualPlan
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.build import SceneSettings
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual

PHOTOS, ASKED = 9, 4
UNIT = 3.6  # how far the cameras stand from the corner


@pytest.mark.parametrize(
    ("feature", "file", "matchers"),
    [
        ("xfeat", "xfeat-kornia.pt", ("direct", "mutual", "lightglue")),
        ("aliked-t16", "aliked-t16.pth", ("direct", "mutual")),
    ],
)
def test_from_photos_to_a_pose(
    shared_data: Path, tmp_path: Path, feature: str, file: str, matchers: tuple[str, ...]
) -> None:
    for module in ("pycolmap", "kornia", "onnxruntime"):
        pytest.importorskip(module)
    folder = shared_data.parent / "weights"
    if not (folder / file).is_file() or not (folder / "lighterglue-L3.onnx").is_file():
        pytest.skip(f"no weights in {folder}")
    truth = poses(PHOTOS)
    names = sorted(truth)
    write_photos(tmp_path / "photos", PHOTOS)
    (tmp_path / "photos" / names[ASKED]).unlink()  # the query is no photo of the map
    (tmp_path / "poses.txt").write_text("".join(map(_line, names, (truth[name] for name in names))), encoding="utf-8")
    settings = SceneSettings(
        feature=feature,
        weights=folder / file,
        extractor=ExtractorSettings(max_keypoints=500),
        matching="sequential",
        overlap=3,
        threads=1,
    )
    build_visual(tmp_path / "photos", tmp_path / "scene", settings, poses=tmp_path / "poses.txt", camera=CAMERA)
    scene = read_scene(tmp_path / "scene")
    assert scene.feature == feature
    means = track_means(scene)
    codec = Transform(fit_basis(means, 40, feature=feature), 0.1, standard=False)
    with FoldWriter(tmp_path / "scene.fold") as writer:
        fold_calibrated(writer, scene, VisualPlan(np.arange(len(means)), codec, images=True, group=1), means=means)
        writer.commit()
    folded = FoldedVisual(FoldFile.open(tmp_path / "scene.fold"))
    extractor = open_extractor(feature, folder / file, ExtractorSettings(max_keypoints=500))
    query = Query("new.png", scene.cameras[0], extractor.extract(photograph(truth[names[ASKED]])))
    for matcher in matchers:
        weights = folder / "lighterglue-L3.onnx" if matcher == "lightglue" else None
        found = VisualLocalizer(folded, VisualSettings(matcher=matcher, weights=weights)).localize(query)
        assert found.status.value == "ok", (matcher, found.diagnostics)
        assert found.camera_SE3_world is not None
        apart = found.camera_SE3_world @ np.linalg.inv(truth[names[ASKED]])
        turn_rad = np.arccos(np.clip((np.trace(apart[:3, :3]) - 1) / 2, -1, 1))
        assert turn_rad < np.radians(0.5), matcher
        assert np.linalg.norm(_centre(found.camera_SE3_world) - _centre(truth[names[ASKED]])) < 0.01 * UNIT, matcher


def _centre(camera_SE3_world: np.ndarray) -> np.ndarray:
    return -camera_SE3_world[:3, :3].T @ camera_SE3_world[:3, 3]


def _line(name: str, camera_SE3_world: np.ndarray) -> str:
    """A line of hloc's results: name, quaternion w x y z, translation; the name may hold a blank."""
    w = np.sqrt(max(0.0, 1 + np.trace(camera_SE3_world[:3, :3]))) / 2
    r = camera_SE3_world[:3, :3]
    quaternion = np.array([w, *(np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / (4 * w))])
    return f"{name} {' '.join(f'{v:.9f}' for v in (*quaternion, *camera_SE3_world[:3, 3]))}\n"
