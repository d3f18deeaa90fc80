"""What a public dataset of visual localization offers, whatever its folders look like."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from foldmap.errors import MapInputError
from foldmap.formats.listing import ListedImage
from foldmap.visual.features.photo_names import files_below


@dataclass(frozen=True)
class Dataset:
    """One scene of a dataset.

    Attributes:
        name: dataset and scene, "cambridge/ShopFacade".
        map_folder: what the names of the map images are relative to.
        query_folder: what the names of the queries are relative to.
        map_images: names, with cameras and poses where the dataset tells them outside of its model.
        queries: with cameras where known, and ground truth where the owners publish it.
        model_folder: a COLMAP model of the map that comes with the dataset, or None.
        thresholds: (metres, degrees) at which accuracy is reported; empty where medians are.
        withheld: whether the queries' poses are kept by an evaluation server.
    """

    name: str
    map_folder: Path
    query_folder: Path
    map_images: tuple[ListedImage, ...]
    queries: tuple[ListedImage, ...]
    model_folder: Path | None
    thresholds: tuple[tuple[float, float], ...]
    withheld: bool = False

    @property
    def rigs(self) -> dict[str, list[ListedImage]]:
        """The queries' images by what their answer goes by; one image each for single cameras."""
        found: dict[str, list[ListedImage]] = {}
        for image in self.queries:
            found.setdefault(image.query_id, []).append(image)
        return found


def need_folder(folder: Path, cure: str) -> Path:
    """The folder, if there is one.

    Raises:
        MapInputError: there is none.
    """
    if not folder.is_dir():
        raise MapInputError(f"there is no folder {folder}", cure)
    return folder


def need_images(folder: Path, names: list[str]) -> None:
    """Check that images of a list lie in their folder.

    Raises:
        MapInputError: naming the first that does not.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise MapInputError(
            f"{folder} has no image {missing[0]!r} ({len(missing)} of {len(names)} are missing)",
            "download the images, or check the list",
        )


def pictures(folder: Path) -> list[str]:
    """Names of all images below a folder, sorted, relative to it."""
    kinds = {".jpg", ".jpeg", ".png"}
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder) if path.suffix.lower() in kinds)


def size_px(path: Path) -> tuple[int, int]:
    """Width and height of an image, from its header.

    Raises:
        MapInputError: it is missing or no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MapInputError(f"{path} cannot be read as an image: {error}", "download it again") from error
