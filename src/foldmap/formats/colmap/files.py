"""Where the files of a COLMAP model are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from foldmap.errors import MapInputError

MODEL_FILES = ("cameras", "images", "points3D")


def find_model(folder: Path) -> Path:
    """The folder of the model: the given one, its ``sparse`` or its ``sparse/0``, the first that holds one."""
    partly = ""
    for place, suffix in _places(folder):
        missing = [name + suffix for name in MODEL_FILES if not (place / (name + suffix)).is_file()]
        if not missing:
            return place
        if len(missing) < len(MODEL_FILES):
            partly = partly or f"{place} lacks {' and '.join(missing)}"
    raise MapInputError(
        partly or f"{folder} holds no COLMAP model",
        "give a folder with cameras, images and points3D as .bin or .txt, itself or in sparse/ or sparse/0/",
    )


def find_images_file(folder: Path) -> Path:
    """The images file of a model, binary before text, in the same places."""
    for place, suffix in _places(folder):
        if (place / f"images{suffix}").is_file():
            return place / f"images{suffix}"
    cure = "give a folder with images.bin or images.txt, itself or in sparse/ or sparse/0/"
    raise MapInputError(f"{folder} holds no COLMAP model", cure)


def has_images_file(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model's images file, see `find_images_file`."""
    return any((place / f"images{suffix}").is_file() for place, suffix in _places(folder))


def model_suffix(folder: Path) -> str:
    """``.bin`` where the binary model is complete, else ``.txt``, as COLMAP chooses."""
    return ".bin" if all((folder / f"{name}.bin").is_file() for name in MODEL_FILES) else ".txt"


def _places(folder: Path) -> Iterator[tuple[Path, str]]:
    folder = Path(folder)
    if not folder.is_dir():
        raise MapInputError(f"there is no folder {folder}", "check the path of the scene")
    for place in (folder, folder / "sparse", folder / "sparse" / "0"):
        yield from ((place, suffix) for suffix in (".bin", ".txt"))
