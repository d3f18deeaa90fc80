"""kapture's text files of sensors: cameras, rigs, trajectories, records. Versions 1.0 and 1.1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from foldmap.errors import MapInputError
from foldmap.formats.listing import ListedImage, camera_of, content, pose_of
from foldmap.formats.naming import reading
from foldmap.geometry.camera import Camera
from foldmap.types import DoubleArray

_VERSIONS = ("1.0", "1.1")
_HEADER = re.compile(r"#\s*kapture format\s*:\s*(\S+)")
_WHAT = "a kapture text file"


def kapture_version(folder: Path | str) -> str:
    """The version of a kapture dataset, from ``sensors/sensors.txt``: 1.0 or 1.1."""
    path = Path(folder) / "sensors" / "sensors.txt"
    cure = "give the folder of a kapture"
    try:
        with reading(path, cure), path.open(encoding="utf-8-sig") as file:
            found = _HEADER.match(file.readline())
    except UnicodeDecodeError as error:
        raise MapInputError(f"{path} is not UTF-8 text", cure) from error
    if found is None:
        raise MapInputError(f"{path} does not start with a kapture version", cure)
    if found[1] not in _VERSIONS:
        raise MapInputError(f"{path} is of kapture format {found[1]}", f"convert it to {_VERSIONS[-1]} with kapture")
    return found[1]


def rows(path: Path, least: int, form: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, comma-separated fields) of a kapture text file, ``least`` fields at least."""
    for line, text in content(path, _WHAT):
        fields = [field.strip() for field in text.split(",")]
        if len(fields) < least:
            raise MapInputError(f"{path}, line {line}: {len(fields)} fields", f"expected {form}")
        yield line, fields


def read_cameras(folder: Path | str) -> dict[str, Camera]:
    """Cameras by device id; other sensors are passed over."""
    path = Path(folder) / "sensors" / "sensors.txt"
    cameras: dict[str, Camera] = {}
    for line, fields in rows(path, 3, "sensor_device_id, name, sensor_type, [sensor_params]"):
        if fields[2] != "camera":
            continue
        if fields[0] in cameras:
            raise MapInputError(f"{path}, line {line}: sensor {fields[0]!r} comes twice", "keep each once")
        if len(fields) < 4 or fields[3] == "UNKNOWN_CAMERA":
            raise MapInputError(f"{path}, line {line}: camera {fields[0]!r} has no parameters", "calibrate it")
        cameras[fields[0]] = camera_of(path, line, fields[3:])
    return cameras


def read_rigs(folder: Path | str) -> dict[str, dict[str, DoubleArray]]:
    """``sensor_SE3_rig`` by rig and sensor (which may be a rig itself); empty where there is no ``rigs.txt``."""
    path = Path(folder) / "sensors" / "rigs.txt"
    rigs: dict[str, dict[str, DoubleArray]] = {}
    if path.exists():
        for line, fields in rows(path, 9, "rig_device_id, sensor_device_id, qw, qx, qy, qz, tx, ty, tz"):
            rigs.setdefault(fields[0], {})[fields[1]] = pose_of(path, line, fields[2:9])
    return rigs


def read_trajectories(folder: Path | str) -> dict[tuple[int, str], DoubleArray]:
    """``device_SE3_world`` by (timestamp, device) of ``trajectories.txt``, those of rigs passed on to their sensors.

    A pose with empty fields is unknown and left out. Without the file nothing is known.
    """
    path = Path(folder) / "sensors" / "trajectories.txt"
    poses: dict[tuple[int, str], DoubleArray] = {}
    if not path.exists():
        return poses
    members = _members_of(read_rigs(folder), path.parent / "rigs.txt")
    for line, fields in rows(path, 9, "timestamp, device_id, qw, qx, qy, qz, tx, ty, tz"):
        if not all(fields[2:9]):
            continue
        device_SE3_world = pose_of(path, line, fields[2:9])
        time = _timestamp(path, line, fields[0])
        for sensor, sensor_SE3_device in members.get(fields[1], {}).items():
            poses.setdefault((time, sensor), sensor_SE3_device @ device_SE3_world)
        poses[time, fields[1]] = device_SE3_world
    return poses


def _members_of(rigs: dict[str, dict[str, DoubleArray]], path: Path) -> dict[str, dict[str, DoubleArray]]:
    """``sensor_SE3_rig`` of all sensors of each rig, those of rigs within rigs included; circles are refused."""

    def spread(rig: str, above: tuple[str, ...]) -> dict[str, DoubleArray]:
        if rig in above:
            raise MapInputError(f"{path}: rig {rig!r} contains itself", "remove the circle")
        found: dict[str, DoubleArray] = {}
        for sensor, sensor_SE3_rig in rigs[rig].items():
            found[sensor] = sensor_SE3_rig
            inner = spread(sensor, (*above, rig)) if sensor in rigs else {}
            found |= {deep: deep_SE3_sensor @ sensor_SE3_rig for deep, deep_SE3_sensor in inner.items()}
        return found

    return {rig: spread(rig, ()) for rig in rigs}


def read_records(folder: Path | str) -> list[tuple[int, str, str]]:
    """(timestamp, device, image name) of ``records_camera.txt``, in the file's order; names stay within the dataset."""
    path = Path(folder) / "sensors" / "records_camera.txt"
    records: list[tuple[int, str, str]] = []
    seen: set[str] = set()
    for line, fields in rows(path, 3, "timestamp, device_id, image_path"):
        name = fields[2]
        if name in seen:
            raise MapInputError(f"{path}, line {line}: image {name!r} comes twice", "keep each once")
        if not name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise MapInputError(f"{path}, line {line}: image path {name!r}", "give paths within records_data")
        seen.add(name)
        records.append((_timestamp(path, line, fields[0]), fields[1], name))
    if not records:
        raise MapInputError(f"{path} lists no image", "give a kapture with images")
    return records


def read_images(folder: Path | str) -> list[ListedImage]:
    """The images of a kapture with their cameras, and their poses where known, in the order of the records.

    ``query_id`` is ``timestamp/rig`` for an image of a rig (with its extrinsics) and ``timestamp/device`` for others,
    as the ETH-Microsoft benchmark names its queries.
    """
    kapture_version(folder)
    cameras, poses = read_cameras(folder), read_trajectories(folder)
    mounted: dict[str, tuple[str, DoubleArray]] = {}
    rigs = _members_of(read_rigs(folder), Path(folder) / "sensors" / "rigs.txt")
    inner = {sensor for members in rigs.values() for sensor in members}
    for rig in sorted(rigs.keys() - inner):
        for sensor, sensor_SE3_rig in rigs[rig].items():
            mounted.setdefault(sensor, (rig, sensor_SE3_rig))
    images = []
    for time, device, name in read_records(folder):
        if device not in cameras:
            said = f"image {name!r} was taken by {device!r}, which is no camera of"
            raise MapInputError(f"{said} {Path(folder) / 'sensors' / 'sensors.txt'}", "list that camera")
        rig, extrinsics = mounted.get(device, (device, None))
        images.append(ListedImage(name, cameras[device], poses.get((time, device)), f"{time}/{rig}", extrinsics))
    return images


def _timestamp(path: Path, line: int, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise MapInputError(f"{path}, line {line}: timestamp {text!r}", "give whole numbers") from error
