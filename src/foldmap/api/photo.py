"""A photo as the front door takes it: pixels or a file, and its camera."""

from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry.camera import Camera
from foldmap.types import ByteArray, DoubleArray
from foldmap.visual.features.extract import Extractor, open_extractor
from foldmap.visual.features.images import image_size_px, read_image
from foldmap.visual.features.turned import extract_turned
from foldmap.visual.source import Query


@dataclass(frozen=True)
class Photo:
    """A photo to be localized; its features are extracted when it is (SIFT, which needs foldmap[sfm]).

    Attributes:
        image: file, or uint8 (H, W) or (H, W, 3) RGB.
        camera: its intrinsics.
        camera_SE3_rig: of one camera of a rig, float64 (4, 4).
        intrinsics: where they are from: "given", "exif" (a focal length in EXIF) or "guessed".
    """

    image: Path | str | ByteArray
    camera: Camera
    camera_SE3_rig: DoubleArray | None = None
    intrinsics: str = "given"

    def query(self, extractor: Extractor, quarters: int = 0, small: bool = False) -> Query:
        """The photo with its features; a MapInputError where it cannot be read, or its camera is of another size.

        They are found in the photo turned by so many quarters, a ``small`` one where that will do; the camera stays the
        photo's own.
        """
        name, pixels = "photo", self.image
        if isinstance(pixels, Path | str):
            name, pixels = str(pixels), read_image(Path(pixels))
        size, wanted = image_size_px(pixels), (self.camera.width_px, self.camera.height_px)
        if size != wanted:
            said = f"photo {name!r} is {size[0]} x {size[1]} px, its camera {wanted[0]} x {wanted[1]}"
            raise MapInputError(said, "give the camera of that size")
        features = extract_turned(extractor, pixels, quarters, small) if quarters else extractor.extract(pixels)
        return Query(name, self.camera, features, None, self.camera_SE3_rig, self.intrinsics)


def extractor_for(feature: str) -> Extractor:
    """What extracts the features of a map's photos without further ado: SIFT; a network's are a ConfigError."""
    if feature != "sift":
        raise ConfigError(
            f"the map is of {feature} features, which need a network's weights",
            "extract them (foldmap.visual.features.extract.open_extractor) and give a Query",
        )
    return open_extractor(feature)
