"""Photos asked over HTTP: the answers of ``foldmap localize``, on Earth, in the encodings of the standard."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer
from scipy.spatial.transform import Rotation

from foldmap.api import opened
from foldmap.api.photo import Photo
from foldmap.atlas import FoldFile, update
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.service.questions import read_question
from foldmap.types import DoubleArray
from foldmap.visual.features.images import read_image_bytes
from tests.service.conftest import HERE, TIME_MS, Client, ServedStreet
from tests.service.geopose_schemas import FORMS, PROBLEM, check, response

OSCP = {"Accept": "application/vnd.oscp+json;version=2.0"}
PATH = "/localize/geopose"


def on_earth(camera_SE3_world: DoubleArray) -> tuple[DoubleArray, Rotation]:
    """Where a camera is in the Earth's frame, by PROJ, and its body there: x ahead, y left, z up."""
    world_SE3_camera = inverse_rigid(camera_SE3_world)
    turn = Rotation.from_euler("z", HERE.heading_rad)
    back = f"+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 +lon_0={HERE.longitude_deg}"
    pipeline = Transformer.from_pipeline(f"{back} +lat_0={HERE.latitude_deg} +h_0={HERE.height_m}")
    place = np.array(pipeline.transform(*turn.apply(world_SE3_camera[:3, 3])))
    right, down, ahead = turn.apply(world_SE3_camera[:3, :3].T)
    axes = np.stack([ahead, -right, -down], axis=1)  # in east, north, up of the anchor
    return place, Rotation.from_matrix(axes)


def ecef(position: dict[str, float]) -> DoubleArray:
    change = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    return np.array(change.transform(position["lon"], position["lat"], position["h"]))


@pytest.mark.parametrize("number", range(4))
def test_a_photo_is_where_it_was_taken(client: Client, street: ServedStreet, number: int) -> None:
    answer = client.post(PATH, json=street.asked(number), headers=OSCP)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.oscp+json;version=2.0"
    said = answer.json()
    check(said, response(FORMS["basic-quaternion"]))
    assert (said["id"], said["timestamp"]) == (f"q{number}", TIME_MS)
    place, axes = on_earth(street.queries[number][1])
    assert np.linalg.norm(ecef(said["geopose"]["position"]) - place) < 0.10
    quaternion = [said["geopose"]["quaternion"][key] for key in "xyzw"]
    assert (Rotation.from_quat(quaternion).inv() * axes).magnitude() < math.radians(1.0)
    assert answer.headers["foldmap-status"] in ("ok", "degraded")


def test_the_answer_is_that_of_the_front_door_to_the_bit(client: Client, street: ServedStreet) -> None:
    said = client.post(f"{PATH}?details=true", json=street.asked()).json()
    pixels = read_image_bytes(street.photos[0], 10**6)
    with opened.open(street.folder / "map.fold") as town:
        found = town.localize(Photo(pixels, street.queries[0][0].camera))
    assert found.pose is not None
    assert found.covariance is not None
    known = said["foldmap"]
    assert known["covariance"] == found.covariance.tolist()
    assert known["pose"][4:] == found.pose[:3, 3].tolist()
    assert known["status"] == found.status.value
    variances = np.diag(found.covariance)
    assert math.isclose(said["accuracy"]["position"] ** 2, variances[:3].mean())
    assert math.isclose(math.radians(said["accuracy"]["orientation"]) ** 2, variances[3:].mean())


@pytest.mark.parametrize("form", FORMS)
def test_encodings_say_the_same(client: Client, street: ServedStreet, form: str) -> None:
    bare = client.post(f"{PATH}?geopose={form}", json=street.asked(), headers={"Accept": "application/geopose+json"})
    assert bare.headers["content-type"] == "application/geopose+json;version=1.0"
    check(bare.json(), FORMS[form])
    accept = f'application/json;q=0.5, application/vnd.oscp+json; version=2.0; geopose="{form}";'
    within = client.post(PATH, json=street.asked(), headers={"Accept": accept}).json()
    check(within, response(FORMS[form]))
    assert within["geopose"] == bare.json()
    quaternion = client.post(PATH, json=street.asked(), headers={"Accept": "application/geopose+json"}).json()
    turn = Rotation.from_quat([quaternion["quaternion"][key] for key in "xyzw"])
    said = bare.json()
    if form == "basic-ypr":
        angles = [said["angles"][key] for key in ("yaw", "pitch", "roll")]
        assert (Rotation.from_euler("ZYX", angles, degrees=True).inv() * turn).magnitude() < 1e-9
        assert said["position"] == quaternion["position"]
    if form == "advanced":
        assert said["validTime"] == TIME_MS
        parameters = dict(one.split("=") for one in said["frameSpecification"]["parameters"].split("&"))
        assert float(parameters["latitude"]) == quaternion["position"]["lat"]
        assert said["quaternion"] == quaternion["quaternion"]


@pytest.mark.parametrize("accept", ["text/html", "application/vnd.oscp+json;version=1.0", "application/json;q=0"])
def test_what_is_not_answered_is_406(client: Client, street: ServedStreet, accept: str) -> None:
    answer = client.post(PATH, json=street.asked(), headers={"Accept": accept})
    assert answer.status_code == 406
    check(answer.json(), PROBLEM)


def other_photo(street: ServedStreet, seed: int) -> dict[str, Any]:
    """A picture of another place: noise of several sizes."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    drawn = sum(gaussian_filter(rng.normal(size=(240, 320)), sigma) * sigma for sigma in (1, 2, 4, 8))
    file = io.BytesIO()
    Image.fromarray(np.clip(127 + 60 * np.asarray(drawn), 0, 255).astype(np.uint8)).save(file, "PNG")
    return street.asked(0, imageBytes=base64.b64encode(file.getvalue()).decode())


@pytest.mark.parametrize("seed", range(3))
def test_a_photo_of_elsewhere_gets_no_pose(client: Client, street: ServedStreet, seed: int) -> None:
    answer = client.post(PATH, json=other_photo(street, seed))
    assert answer.status_code == 404
    said = answer.json()
    check(said, PROBLEM)
    assert said["status"] in ("no_match", "ambiguous", "no_observation")
    assert said["reason"]
    assert said["id"] == "q0"
    assert "geopose" not in said


def test_a_blank_photo_gets_no_pose(client: Client, street: ServedStreet) -> None:
    grey = base64.b64encode(bytes([128]) * (320 * 240)).decode()
    answer = client.post(PATH, json=street.asked(0, imageBytes=grey, imageFormat="GRAY8"))
    assert (answer.status_code, answer.json()["status"]) == (404, "no_observation")


def fix(place: tuple[float, float], accuracy: float, time_ms: int = 1) -> dict[str, Any]:
    return {"timestamp": time_ms, "latitude": place[0], "longitude": place[1], "accuracy": accuracy}


def test_a_prior_is_heeded(client: Client, street: ServedStreet) -> None:
    asked = street.asked()
    position = client.post(PATH, json=asked).json()["geopose"]["position"]
    here, far = (position["lat"], position["lon"]), (position["lat"] + 0.1, position["lon"])
    for fixes, status in (
        ([fix(far, 5.0)], 404),
        ([fix(far, 20_000.0)], 200),
        ([fix(far, 0.0)], 200),  # no accuracy: nothing is known
        ([fix(far, 5.0, 1), fix(here, 5.0, 2)], 200),  # the newest counts
        ([fix(far, 5.0, 2), fix(here, 5.0, 1)], 404),
    ):
        asked["sensorReadings"]["geolocationReadings"] = fixes
        assert client.post(PATH, json=asked).status_code == status, fixes
    asked["sensorReadings"]["geolocationReadings"] = []
    before = {"position": {"lat": far[0], "lon": far[1], "h": 0}}
    asked["priorPoses"] = [{"timestamp": 5, "accuracy": {"position": 1.0, "orientation": 1.0}, "geopose": before}]
    answer = client.post(PATH, json=asked)
    assert (answer.status_code, answer.json()["status"]) == (404, "no_match")


def turned() -> str:
    """A JPEG whose EXIF says that the camera was held upright."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (320, 240), (90, 90, 90)).save(file, "JPEG", exif=exif)
    return base64.b64encode(file.getvalue()).decode()


def bomb(side_px: int) -> str:
    """A small PNG that declares many pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    made = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(made).decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imageBytes": "?"}, "base64"),
        ({"imageBytes": ""}, "imageBytes"),
        ({"imageBytes": base64.b64encode(b"GIF89a....").decode()}, "JPEG, PNG or WebP"),
        ({"imageBytes": bomb(30_000), "size": []}, "more pixels than 16,000,000"),
        ({"imageBytes": bomb(5_000), "size": []}, "5000 x 5000 pixels, more than 16,000,000"),
        ({"size": [640, 480]}, "640 x 480"),
        ({"size": [1]}, "width and height"),
        ({"params": None}, "model"),
        ({"params": {"model": "UNKNOWN"}}, "model"),
        ({"params": {"model": "PINHOLE", "modelParams": [1]}}, "parameters"),
        ({"params": {"model": "PINHOLE", "modelParams": [1, 1, 160, 120]}}, "focal length"),
        ({"params": {"model": "PINHOLE", "modelParams": [300, 300, 900, 120]}}, "principal point"),
        ({"params": {"model": "PINHOLE", "modelParams": ["a"]}}, "numbers"),
        ({"imageOrientation": {"mirrored": True, "rotation": 0}}, "mirrored"),
        ({"imageOrientation": {"mirrored": False, "rotation": 90}}, "turned by 90"),
        ({"imageBytes": turned(), "size": []}, "EXIF says that it is turned"),
    ],
)
def test_what_cannot_be_used_is_400_with_a_reason(
    client: Client, street: ServedStreet, changes: dict[str, Any], words: str
) -> None:
    answer = client.post(PATH, json=street.asked(0, **changes))
    assert answer.status_code == 400, answer.text
    check(answer.json(), PROBLEM)
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b'{"id":NaN}', b"[" * 5000, b"null"])
def test_what_is_no_request_is_400(client: Client, body: bytes) -> None:
    answer = client.post(PATH, content=body)
    assert answer.status_code == 400
    check(answer.json(), PROBLEM)


def test_data_urls_and_bare_pixels_are_images_too(client: Client, street: ServedStreet) -> None:
    plain = client.post(PATH, json=street.asked()).json()
    text = street.asked()["sensorReadings"]["cameraReadings"][0]["imageBytes"]
    assert client.post(PATH, json=street.asked(0, imageBytes=f"data:image/png;base64,{text}")).json() == plain
    grey = read_image_bytes(street.photos[0], 10**6)
    rgba = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=2)
    raw = street.asked(0, imageBytes=base64.b64encode(rgba.tobytes()).decode(), imageFormat="RGBA32")
    assert client.post(PATH, json=raw).json() == plain


def test_a_map_without_a_place_says_so(street: ServedStreet, serving: Callable[..., Client], tmp_path: Path) -> None:
    path = tmp_path / "nowhere.fold"
    path.write_bytes((street.folder / "map.fold").read_bytes())
    with update(path) as updater:
        updater.remove_metadata("anchor")
    answer = serving(path).post(PATH, json=street.asked())
    assert answer.status_code == 501
    assert "nobody knows where on Earth" in answer.json()["error"]["message"]
    said = serving(path, anchor=HERE).post(PATH, json=street.asked())
    assert said.json() == serving(street.folder / "map.fold").post(PATH, json=street.asked()).json()
    with update(path) as updater:
        updater.set_parameters("visual", {**updater.before.layer("visual").parameters, "metric": False})
    assert "units of its own" in serving(path, anchor=HERE).post(PATH, json=street.asked()).json()["error"]["message"]


def test_ids_that_are_no_utf8_come_back(client: Client, street: ServedStreet) -> None:
    asked = json.dumps({**street.asked(), "id": "\ud800ü"})
    answer = client.post(PATH, content=asked.encode())
    assert answer.status_code == 200
    assert json.loads(answer.text)["id"] == "\ud800ü"


def test_the_seal_names_the_map(client: Client, street: ServedStreet) -> None:
    with FoldFile.open(street.folder / "map.fold") as file:
        assert client.post(PATH, json=street.asked()).headers["foldmap-seal"] == file.seal.hex()


@pytest.mark.parametrize("sent", ["bom", "url", "unpadded", "in lines"])
def test_an_image_is_read_however_clients_write_json_and_base64(sent: str) -> None:
    payload = np.random.default_rng(3).bytes(64 * 50)
    text = base64.b64encode(payload).decode()
    assert ("+" in text, "/" in text, text.endswith("=")) == (True, True, True)
    if sent == "url":
        text = base64.urlsafe_b64encode(payload).decode()
    elif sent == "unpadded":
        text = text.rstrip("=")
    elif sent == "in lines":
        text = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    camera = {"model": "PINHOLE", "modelParams": [60, 60, 32, 25]}
    reading = {"imageFormat": "GRAY8", "size": [64, 50], "imageBytes": text, "params": camera}
    body = json.dumps({"sensorReadings": {"cameraReadings": [reading]}}).encode()
    question = read_question(b"\xef\xbb\xbf" + body if sent == "bom" else body, 10_000)
    assert question.pixels.tobytes() == payload
