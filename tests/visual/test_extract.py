"""Features against COLMAP's own database, networks against what they must hold to, photos of all kinds."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import photo_room
import pytest
from PIL import Image  # before pycolmap, see foldmap.visual.scene.colmap_library

from foldmap.errors import ConfigError, FoldmapError, MapInputError, ModelError
from foldmap.visual.features.extract import ExtractorSettings, SiftExtractor, open_extractor
from foldmap.visual.features.images import grey, read_image
from foldmap.visual.features.photo_names import find_images
from foldmap.visual.scene.build import camera_of_photo
from foldmap.visual.scene.colmap_database import mutual_matches
from foldmap.visual.scene.pair_lists import exhaustive_pairs, listed_pairs, sequential_pairs


def photos() -> tuple[np.ndarray, np.ndarray]:
    first, second = list(photo_room.poses(20).values())[8:10]
    return photo_room.photograph(first), photo_room.photograph(second)


@pytest.mark.parametrize(
    ("settings", "colour"),
    [(ExtractorSettings(first_octave=0), False), (ExtractorSettings(max_keypoints=200, max_side_px=250), True)],
)
def test_sift_is_what_colmap_writes(tmp_path: Path, settings: ExtractorSettings, colour: bool) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    image = photos()[0]
    if colour:
        image = np.stack([image, image[::-1], image[:, ::-1]], axis=-1)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.jpg", quality=95)
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, 1
    options.max_image_size = settings.max_side_px or -1
    options.sift.max_num_features, options.sift.first_octave = settings.max_keypoints, settings.first_octave
    pycolmap.logging.minloglevel = 3
    pycolmap.extract_features(tmp_path / "db", tmp_path / "in", extraction_options=options, device=pycolmap.Device.cpu)
    with pycolmap.Database.open(tmp_path / "db") as database:
        keypoints, descriptors = database.read_keypoints(1), database.read_descriptors(1).data
    found = SiftExtractor(settings, as_colmap=True).extract(read_image(tmp_path / "in" / "a.jpg"))
    assert len(found.xy_px) > 100
    assert np.abs(found.xy_px - keypoints[:, :2]).max() < 1e-4
    assert np.array_equal(found.descriptors, descriptors)
    scale_px = np.sqrt(np.abs(np.linalg.det(keypoints[:, 2:].reshape(-1, 2, 2))))
    assert found.scores == pytest.approx(scale_px, rel=0.02)


@pytest.mark.parametrize("most", [1, 50, 200])
def test_the_most_keypoints_are_the_most(most: int) -> None:
    """COLMAP counts places, and describes some of them in several orientations."""
    pytest.importorskip("pycolmap")
    image = photos()[0]
    every = SiftExtractor(ExtractorSettings(max_keypoints=most), as_colmap=True).extract(image)
    found = open_extractor("sift", settings=ExtractorSettings(max_keypoints=most)).extract(image)
    assert len(every.xy_px) >= len(found.xy_px) == len(found.descriptors) == most
    assert found.scores is not None
    assert every.scores is not None
    assert np.sort(found.scores) == pytest.approx(np.sort(every.scores)[-most:])
    kept = {tuple(row) for row in np.concatenate([every.xy_px, every.descriptors], axis=1)}
    assert all(tuple(row) in kept for row in np.concatenate([found.xy_px, found.descriptors], axis=1))


@pytest.mark.parametrize(("feature", "file"), [("aliked", "aliked-t16.pth"), ("xfeat", "xfeat-kornia.pt")])
def test_networks_find_the_same_points_again(shared_data: Path, feature: str, file: str) -> None:
    """Matches of two photos with known geometry must obey it, whatever the size and its rest by 32."""
    pytest.importorskip("kornia")
    weights = shared_data.parent / "weights" / file
    if not weights.is_file():
        pytest.skip(f"no weights at {weights}")
    extractor = open_extractor(feature, weights, ExtractorSettings(max_keypoints=300))
    assert extractor.feature == ("aliked-t16" if feature == "aliked" else "xfeat")
    image = photos()[0][:150, :190]
    moved = image[5:, 9:]
    one, other = extractor.extract(image), extractor.extract(moved)
    assert one.descriptors.shape == (len(one.xy_px), 64)
    assert np.linalg.norm(one.descriptors, axis=1) == pytest.approx(1, abs=1e-3)
    assert one.scores is not None
    assert (np.diff(one.scores) <= 0).all()
    matches = mutual_matches(one.descriptors, other.descriptors)
    assert len(matches) > 40
    shift = one.xy_px[matches[:, 0]] - other.xy_px[matches[:, 1]]
    assert np.median(shift, axis=0) == pytest.approx([9, 5], abs=0.3)
    assert (np.abs(shift - [9, 5]).max(axis=1) < 2).mean() > 0.7
    again = extractor.extract(image)
    assert np.array_equal(again.xy_px, one.xy_px)
    assert np.array_equal(again.descriptors, one.descriptors)


def test_keypoints_of_scaled_photos_are_in_pixels_of_the_whole(shared_data: Path) -> None:
    pytest.importorskip("kornia")
    weights = shared_data.parent / "weights" / "xfeat-kornia.pt"
    if not weights.is_file():
        pytest.skip(f"no weights at {weights}")
    # one bright dot, 40 px wide: its corners' mean must stay at its centre
    image = np.full((512, 640), 40, np.uint8)
    rows, cols = np.mgrid[:512, :640] + 0.5
    image[np.hypot(rows - 200, cols - 300) < 20] = 220
    for side in (640, 320):
        extractor = open_extractor("xfeat", weights, ExtractorSettings(max_side_px=side))
        xy_px = extractor.extract(image).xy_px
        near = xy_px[np.hypot(*(xy_px - [300, 200]).T) < 30]
        assert len(near) >= 4
        assert near.mean(axis=0) == pytest.approx([300, 200], abs=4)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("kornia")
    (tmp_path / "aliked-n16.pth").write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match=r"aliked-n16\.pth"):
        open_extractor("aliked", tmp_path)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "xfeat.pt")
    with pytest.raises(ModelError, match="another network"):
        open_extractor("xfeat", tmp_path)
    torch.save({"weight": Path("x")}, tmp_path / "xfeat.pt")
    with pytest.raises(ModelError, match=r"xfeat\.pt"):
        open_extractor("xfeat", tmp_path)
    with pytest.raises(ConfigError, match="github"):
        open_extractor("aliked-n32", tmp_path)
    with pytest.raises(ConfigError, match="superpoint"):
        open_extractor("superpoint")


def test_photos_of_all_kinds(tmp_path: Path) -> None:
    wide = photos()[0]
    deep = np.minimum(wide.astype(np.uint32) * 257 + 100, 65535).astype(np.uint16)
    colour = np.stack([wide, wide[::-1], wide[:, ::-1]], axis=-1)
    alpha = np.dstack([colour, wide // 2])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(wide).save(tmp_path / "grey.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(colour).save(tmp_path / "colour.tif")
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    Image.fromarray(colour).quantize(64).save(tmp_path / "palette.png")
    Image.fromarray(wide).save(tmp_path / "turned.jpg", exif=exif)
    assert find_images(tmp_path) == sorted(
        ["grey.png", "deep.png", "colour.tif", "alpha.png", "palette.png", "turned.jpg"]
    )
    assert np.array_equal(read_image(tmp_path / "grey.png"), wide)
    assert np.array_equal(read_image(tmp_path / "deep.png"), wide)
    assert np.array_equal(read_image(tmp_path / "colour.tif"), colour)
    Image.fromarray(wide.astype(np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(MapInputError, match="convert it to 8 or 16 bits"):
        read_image(tmp_path / "wide.tif")
    Image.fromarray((wide.astype(np.uint16) << 4) | 15).save(tmp_path / "twelve.png")
    with pytest.raises(MapInputError, match="has 16 bits, and no pixel beyond"):
        read_image(tmp_path / "twelve.png")
    (tmp_path / "ten.png").write_bytes(imagecodecs.png_encode(colour.astype(np.uint16) << 2))
    with pytest.raises(MapInputError, match="has 16 bits, and no pixel beyond"):
        read_image(tmp_path / "ten.png")
    (tmp_path / "deep-colour.png").write_bytes(imagecodecs.png_encode(colour.astype(np.uint16) * 257))
    assert np.array_equal(read_image(tmp_path / "deep-colour.png"), colour)
    Image.fromarray((wide // 20).astype(np.uint16) * 257).save(tmp_path / "night.png")  # dark, and of 16 bits indeed
    assert np.array_equal(read_image(tmp_path / "night.png"), wide // 20)
    assert np.array_equal(read_image(tmp_path / "alpha.png"), colour)
    assert read_image(tmp_path / "palette.png").shape == colour.shape
    assert read_image(tmp_path / "turned.jpg").shape == wide.shape
    pycolmap = pytest.importorskip("pycolmap")
    for film_mm, focal, source in (
        (26, 26 / 43.27 * np.hypot(*wide.shape), "exif"),
        (65535, 1.2 * max(wide.shape), "guessed"),
    ):
        exif[0x0110], exif.get_ifd(0x8769)[0xA405] = "a camera", film_mm
        for name in ("lens.jpg", "lens.webp"):  # COLMAP reads no WebP
            Image.fromarray(wide).save(tmp_path / name, exif=exif)
            camera, told = camera_of_photo(tmp_path / name)
            assert (told, camera.width_px, camera.height_px) == (source, *wide.shape[::-1])
            assert camera.focal_px[0] == pytest.approx(focal, rel=2e-3)
    with pytest.raises(MapInputError, match=r"hole.webp cannot be read"):
        camera_of_photo(tmp_path / "hole.webp")
    theirs = pycolmap.Bitmap.read(tmp_path / "colour.tif", as_rgb=False).to_array().squeeze()
    assert np.abs(grey(colour).astype(int) - theirs).max() <= 1
    assert (grey(colour) == theirs).mean() > 0.999


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "cut"])
def test_what_is_no_photo_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "bad.png"
    if isinstance(content, str):
        Image.fromarray(photos()[0]).save(path)
        content = path.read_bytes()[:9000]
    path.write_bytes(content)
    with pytest.raises(MapInputError, match=r"bad\.png"):
        read_image(path)


def test_folders_without_photos(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(MapInputError):
            find_images(folder)


def test_arrays_that_are_no_images() -> None:
    pytest.importorskip("pycolmap")
    extractor = open_extractor("sift")
    for bad in (np.zeros((50, 50), np.float32), np.zeros((50, 50, 4), np.uint8), np.zeros((3, 3), np.uint8)):
        with pytest.raises(MapInputError):
            extractor.extract(bad)
    assert extractor.extract(np.zeros((64, 64), np.uint8)).descriptors.shape == (0, 128)
    for wrong in ({"max_keypoints": 0}, {"max_side_px": 3}, {"first_octave": -2}):
        with pytest.raises(FoldmapError):
            ExtractorSettings(**wrong)


def test_mutual_matches_against_brute_force() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.standard_normal((rows, 8)).astype(np.float32) for rows in (2500, 300))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    distance = np.linalg.norm(one[:, None].astype(float) - other[None], axis=2)
    ahead, back = distance.argmin(axis=1), distance.argmin(axis=0)
    plain = [(i, j) for i, j in enumerate(ahead) if back[j] == i]
    assert mutual_matches(one, other).tolist() == [list(pair) for pair in plain]
    nearest = np.sort(distance, axis=1)
    strict = [list(pair) for pair in plain if nearest[pair[0], 0] < 0.8 * nearest[pair[0], 1]]
    assert mutual_matches(one, other, 0.8).tolist() == strict
    assert 0 < len(strict) < len(plain)
    assert mutual_matches(one[:0], other).shape == (0, 2)
    assert mutual_matches(one, other[:1]).shape == (1, 2)


def test_pairs() -> None:
    assert exhaustive_pairs(3) == [(0, 1), (0, 2), (1, 2)]
    assert sequential_pairs(6, 2) == [(a, b) for a in range(6) for b in range(a + 1, 6) if b - a in (1, 2, 4)]
    names = ["a", "b", "c"]
    assert listed_pairs(names, {"c": ["a", "b"], "a": ["c", "a"]}) == [(0, 2), (1, 2)]
    with pytest.raises(MapInputError, match="'d'"):
        listed_pairs(names, {"a": ["d"]})
    with pytest.raises(MapInputError, match="empty"):
        listed_pairs(names, {"a": ["a"]})
