"""Images of bags as files: as they were recorded, named by their times, with the camera of CameraInfo."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from bag_samples import CONTAINERS, Made, plain_drive
from PIL import Image

from foldmap.errors import BagInputError, ConfigError
from foldmap.formats.bags.unpack_images import unpack_images

WIDTH, HEIGHT = 24, 20
PIXELS = [np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for seed in range(4)]
START_NS = 1_700_000_000_250_000_000


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def recorded(path: Path) -> Path:
    """/left/image_raw: three raw images, the second damaged, with a CameraInfo; /right/compressed: four JPEGs."""
    with Made(path) as bag:
        roi = bag.new("sensor_msgs/RegionOfInterest")
        matrix = np.array([30.0, 0, 12, 0, 31.0, 10, 0, 0, 1])
        key = "K" if path.suffix == ".bag" else "k"
        said = {"height": HEIGHT, "width": WIDTH, "distortion_model": "plumb_bob", "roi": roi, key: matrix}
        bag.put("/left/camera_info", "sensor_msgs/CameraInfo", START_NS, "left", **said)
        for number, pixels in enumerate(PIXELS):
            at = START_NS + number * 10**8
            if number < 3:
                data = pixels.reshape(-1)[: 10 if number == 1 else None]
                raw = {"height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "step": 3 * WIDTH, "data": data}
                bag.put("/left/image_raw", "sensor_msgs/Image", at, "left", **raw)
            held = {"format": "jpeg", "data": np.frombuffer(jpeg(pixels), np.uint8)}
            bag.put("/right/compressed", "sensor_msgs/CompressedImage", at, "right", **held)
    return path


@pytest.mark.parametrize("container", CONTAINERS)
def test_images_are_files_named_by_their_times(tmp_path: Path, container: str) -> None:
    bag = recorded(tmp_path / container)
    folder = tmp_path / "images"
    folder.mkdir()
    found = unpack_images(bag, folder, ("/left/image_raw",))
    assert sorted(path.name for path in folder.iterdir()) == ["1700000000.250000.png", "1700000000.450000.png"]
    for name, pixels in zip(sorted(folder.iterdir()), PIXELS[0:3:2], strict=True):
        assert np.array_equal(np.asarray(Image.open(name)), pixels)
    assert found.camera is not None
    assert (found.camera.model, found.camera.params.tolist()) == ("PINHOLE", [30.0, 31.0, 12.5, 10.5])
    assert any("left out: 1 messages" in note for note in found.notes)


def test_jpegs_stay_as_they_were_recorded(tmp_path: Path) -> None:
    bag = recorded(tmp_path / "made.mcap")
    folder = tmp_path / "images"
    folder.mkdir()
    found = unpack_images(bag, folder, ("/right/compressed",), every=3)
    assert [path.name for path in sorted(folder.iterdir())] == ["1700000000.250000.jpg", "1700000000.550000.jpg"]
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [jpeg(PIXELS[0]), jpeg(PIXELS[3])]
    assert found.camera is None
    assert "no CameraInfo" in found.notes[0]


def test_which_images_must_be_clear(tmp_path: Path) -> None:
    bag = recorded(tmp_path / "made.mcap")
    with pytest.raises(BagInputError, match="2 topics of images: /left/image_raw, /right/compressed"):
        unpack_images(bag, tmp_path)
    with pytest.raises(ConfigError, match="of 2 topics"):
        unpack_images(bag, tmp_path, ("/left/image_raw", "/right/compressed"))
    with pytest.raises(ConfigError, match="every 0-th"):
        unpack_images(bag, tmp_path, ("/left/image_raw",), every=0)
    with pytest.raises(BagInputError, match="has no images"):
        unpack_images(plain_drive(tmp_path / "sweeps.mcap"), tmp_path)
