"""Damaged, foreign and contradictory COLMAP models: an error that names the file, never another scene."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colmap_samples import assert_same, small_scene, with_loose_keypoints

from colmap_writer import write_model
from foldmap.errors import MapInputError
from foldmap.formats.colmap.scene import read_model


def write(folder: Path, text: bool) -> str:
    scene = small_scene()
    write_model(scene, folder, *with_loose_keypoints(scene), text=text)
    return ".txt" if text else ".bin"


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_truncation_is_noticed(tmp_path: Path, text: bool, name: str) -> None:
    path = tmp_path / (name + write(tmp_path, text))
    whole = path.read_bytes()
    before = read_model(tmp_path)
    refused = 0
    for size in sorted({*range(0, len(whole), 7), *range(len(whole) - 60, len(whole))}):
        path.write_bytes(whole[:size])
        try:
            after = read_model(tmp_path)
        except MapInputError as error:
            raised = error
            refused += 1
        else:
            assert_same(after, before)
            assert text
            continue
        assert str(tmp_path) in raised.message
        assert raised.cure
    assert refused > len(whole) / 8


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_changed_bytes_raise_nothing_else(tmp_path: Path, text: bool, name: str) -> None:
    path = tmp_path / (name + write(tmp_path, text))
    whole = path.read_bytes()
    draw = np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for at in draw.integers(0, len(whole), int(draw.integers(1, 4))):
            changed[at] = draw.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_model(tmp_path)
        except MapInputError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff\xe0 JFIF \xff\xfe" * 50, b"SQLite format 3\0" * 20, b"{}\n" * 99]
)
def test_foreign_files(tmp_path: Path, text: bool, name: str, content: bytes) -> None:
    path = tmp_path / (name + write(tmp_path, text))
    path.write_bytes(content)
    with pytest.raises(MapInputError) as caught:
        read_model(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_count_is_not_believed(tmp_path: Path, name: str) -> None:
    path = tmp_path / (name + write(tmp_path, False))
    whole = path.read_bytes()
    for count in (1 << 63, 1 << 40, (1 << 64) - 1):
        path.write_bytes(struct.pack("<Q", count) + whole[8:])
        tracemalloc.start()
        with pytest.raises(MapInputError, match=re.escape(f"declares {count:,} ")):
            read_model(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


def test_a_track_length_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, False)
    path = tmp_path / "points3D.bin"
    whole = bytearray(path.read_bytes())
    whole[8 + 43 : 8 + 51] = struct.pack("<Q", 1 << 62)
    path.write_bytes(whole)
    with pytest.raises(MapInputError, match="inside the track of point number 1"):
        read_model(tmp_path)


def test_bytes_after_the_end(tmp_path: Path) -> None:
    write(tmp_path, False)
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole + b"\0")
        with pytest.raises(MapInputError, match=rf"{name} has 1 bytes after"):
            read_model(tmp_path)
        (tmp_path / name).write_bytes(whole)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path, False)
    path = tmp_path / "images.bin"
    path.write_bytes(path.read_bytes().replace("ß".encode(), b"\xdf\xdf"))
    with pytest.raises(MapInputError, match=r"image number 1 has the name .* not UTF-8"):
        read_model(tmp_path)


def line_of(start: str, replace: Callable[[str], str]) -> Callable[[str], str]:
    """An edit of the line that starts so."""
    return lambda text: "\n".join(replace(line) if line.startswith(start) else line for line in text.split("\n"))


CONTRADICTIONS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "camera without parameters": (
        "cameras", line_of("1 ", lambda line: "1 SIMPLE_RADIAL 640 480"),
        "camera 1: a SIMPLE_RADIAL .* 0 parameters, not 4"),
    "camera without model": ("cameras", line_of("1 ", lambda line: "1"), "line 3: 1 values"),
    "unknown model": (
        "cameras", line_of("2 ", lambda line: "2 FOV 640 480 500 500 320 240 0.9"),
        "camera 2: camera model 'FOV' is not known"),
    "camera twice": ("cameras", line_of("2 ", lambda line: "1" + line[1:]), "lists camera 1 twice"),
    "camera of a long id": ("cameras", line_of("2 ", lambda line: "2" * 30 + line[1:]), "a camera of id 222"),
    "camera not listed": (
        "images", line_of("1 ", lambda line: re.sub(r" 1 (\S+ \S+)$", r" 9 \1", line)),
        "has camera 9, which is not listed"),
    "image twice": ("images", line_of("5 ", lambda line: "1" + line[1:]), "lists image 1 twice"),
    "name twice": ("images", line_of("2 ", lambda line: line.replace("a b c.png", "z.png")), "are called 'z.png'"),
    "no name": ("images", line_of("2 ", lambda line: line.replace(" a b c.png", "")), "line 6: 9 values"),
    "pose of zeros": (
        "images", line_of("4 ", lambda line: "4 0 0 0 0 0 0 0 1 z.png"), "'z.png': a quaternion has length 0"),
    "pose not finite": ("images", line_of("4 ", lambda line: "4 1 0 0 0 nan 0 0 1 z.png"), "'z.png': .* NaN"),
    "pose far away": ("images", line_of("4 ", lambda line: "4 1 0 0 0 1e200 0 0 1 z.png"), "'z.png' has its pose far"),
    "long quaternion": ("images", line_of("4 ", lambda line: "4 1e200 0 0 0 1 0 0 1 z.png"), "'z.png': a quaternion"),
    "keypoint not finite": ("images", lambda text: re.sub(r"\S+ (\S+ 12)(?= )", r"nan \1", text), "far outside"),
    "keypoint far away": ("images", lambda text: re.sub(r"\S+ (\S+ 12)(?= )", r"1e300 \1", text), "far outside"),
    "point twice": ("points3D", line_of("2 ", lambda line: "1" + line[1:]), "lists point 1 twice"),
    "point not finite": (
        "points3D", line_of("2 ", lambda line: re.sub(r"^2 \S+", "2 inf", line)), r"point 2 lies at \[ *inf"),
    "track without observations": (
        "points3D", line_of("2 ", lambda line: " ".join(line.split()[:8])), "sees point 2, points3D.txt does not"),
    "image not listed": (
        "points3D", line_of("3 ", lambda line: " ".join([*line.split()[:8], "77", "0"])),
        "point 3 is seen by image 77, which is not listed"),
    "keypoint beyond": (
        "points3D", line_of("3 ", lambda line: " ".join([*line.split()[:-2], "4", "4000"])),
        "point 3 is keypoint 4000 of 'z.png', which has 15"),
    "negative keypoint": (
        "points3D", line_of("3 ", lambda line: " ".join([*line.split()[:-2], "4", "-1"])), "keypoint -1 of 'z.png'"),
    "observation dropped": (
        "points3D", line_of("3 ", lambda line: " ".join(line.split()[:-2])), "sees point 3, points3D.txt does not"),
    "observation twice": (
        "points3D", line_of("3 ", lambda line: " ".join([*line.split(), *line.split()[-2:]])), "is in a track twice"),
    "point gone": ("points3D", line_of("3 ", lambda line: "# gone"), "declares 12 points and has 11"),
    "id of 30 digits": ("points3D", line_of("3 ", lambda line: "1" * 30 + line[1:]), "line 5: "),
    "words for numbers": ("points3D", line_of("3 ", lambda line: line.replace(" ", " x", 1)), "line 5: "),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(tmp_path: Path, case: str) -> None:
    name, edit, words = CONTRADICTIONS[case]
    write(tmp_path, True)
    path = tmp_path / f"{name}.txt"
    before = path.read_text(encoding="utf-8")
    path.write_text(edit(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    with pytest.raises(MapInputError, match=words) as caught:
        read_model(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.cure


def test_points_that_no_image_sees_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, True)
    whole, path = read_model(tmp_path), tmp_path / "points3D.txt"
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    path.write_text("\n".join(["7777 1 2 3 9 9 9 0.5", *rows, "8888 4 5 6 9 9 9 0.5"]) + "\n", encoding="utf-8")
    read = read_model(tmp_path)
    assert np.array_equal(read.points_world, whole.points_world)
    assert np.array_equal(read.tracks.point, whole.tracks.point)
    assert np.array_equal(read.tracks.image, whole.tracks.image)
    path.write_text("7777 1 2 3 9 9 9 0.5\n", encoding="utf-8")
    with pytest.raises(MapInputError, match="no point is seen by an image"):
        read_model(tmp_path)


def test_files_of_two_models(tmp_path: Path) -> None:
    write_model(small_scene(seed=0), tmp_path / "one")
    write_model(small_scene(seed=9), tmp_path / "two")
    (tmp_path / "one" / "points3D.bin").write_bytes((tmp_path / "two" / "points3D.bin").read_bytes())
    with pytest.raises(MapInputError, match="not of one model"):
        read_model(tmp_path / "one")


def test_unknown_model_in_binary(tmp_path: Path) -> None:
    write(tmp_path, False)
    path = tmp_path / "cameras.bin"
    whole = bytearray(path.read_bytes())
    for number, words in ((7, r"camera model 'FOV \(7\)' is not known"), (99, r"number \(99\)")):
        whole[12:16] = struct.pack("<i", number)
        path.write_bytes(whole)
        with pytest.raises(MapInputError, match=words):
            read_model(tmp_path)
