"""Features of photos in a folder, extracted as they are asked for."""

from collections.abc import Sequence
from pathlib import Path

from foldmap.errors import MapInputError
from foldmap.visual.features.extract import Extractor
from foldmap.visual.features.images import photo_size_px, read_image
from foldmap.visual.features.photo_names import find_images
from foldmap.visual.features.turned import extract_turned
from foldmap.visual.source import Features


class PhotoFeatures:
    """A `FeatureSource` of a folder's photos; nothing is kept, each `load` extracts anew.

    Raises `MapInputError`: there is no such folder, or no photo in it.
    """

    def __init__(self, folder: Path, extractor: Extractor) -> None:
        self._folder, self._extractor = folder, extractor
        self._names = find_images(folder)
        self._known = frozenset(self._names)
        self.feature = extractor.feature

    def names(self) -> Sequence[str]:
        """The photos' names, relative to the folder."""
        return self._names

    def load(self, name: str) -> Features:
        """Extract the features of one photo; `MapInputError` where there is none, or it cannot be decoded."""
        return self.load_turned(name, 0)

    def load_turned(self, name: str, quarters: int, small: bool = False) -> Features:
        """The same as `foldmap.visual.features.turned.extract_turned` finds them."""
        if name not in self._known:
            raise MapInputError(f"there is no photo {name!r} in {self._folder}", "check the folder of photos")
        image = read_image(self._folder / name)
        try:
            if not quarters:
                return self._extractor.extract(image)
            return extract_turned(self._extractor, image, quarters, small)
        except MapInputError as error:
            raise MapInputError(f"{self._folder / name}: {error.message}", error.cure) from error

    def image_size(self, name: str) -> tuple[int, int]:
        """Width and height of a photo in px, from its head; `MapInputError` where it cannot be read."""
        return photo_size_px(self._folder / name)
