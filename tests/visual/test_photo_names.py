"""Photos found in folders: links are followed, circles end, formats that are not read are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldmap.errors import MapInputError
from foldmap.visual.features.photo_names import files_below, find_images, find_other_images


def test_linked_folders_and_files_are_found(tmp_path: Path) -> None:
    real, photos = tmp_path / "real" / "cam0", tmp_path / "photos"
    real.mkdir(parents=True)
    (photos / "own").mkdir(parents=True)
    for path in (real / "a.jpg", real / "B.JPG", photos / "own" / "c.png", tmp_path / "d.jpg"):
        path.write_bytes(b"x")
    (photos / "cam0").symlink_to(real)
    (photos / "again").symlink_to(real)
    (photos / "d.jpg").symlink_to(tmp_path / "d.jpg")
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    expected = ["again/B.JPG", "again/a.jpg", "cam0/B.JPG", "cam0/a.jpg", "d.jpg", "gone.jpg", "own/c.png"]
    assert find_images(photos) == expected
    linked = tmp_path / "linked"
    linked.symlink_to(photos)
    assert find_images(linked) == expected


def test_circles_of_links_end(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.jpg").write_bytes(b"x")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    assert find_images(tmp_path / "a") == ["x.jpg"]
    assert [path.name for path in files_below(tmp_path)] == ["x.jpg"]


def test_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"x")
    with pytest.raises(MapInputError, match=r"IMG_1\.HEIC.*convert them to JPEG"):
        find_images(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert (find_images(tmp_path), find_other_images(tmp_path)) == (["a.jpg"], ["IMG_1.HEIC"])
