"""What a network of the lane field is, whoever computes it: torch (`network`), or onnxruntime (`graph`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from foldmap.errors import ConfigError
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.images.ground import BirdsEye
from foldmap.types import AnyArray, FloatArray

IMAGE_PER_CELL = 4
"""Image pixels along the side of a field cell."""
BLOCKS = 11
TAPS = {2: 24, 4: 40, 10: 112}
"""Block whose output is tapped -> its channels, at strides 4, 8 and 16."""
MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class FieldShape:
    """What decides the tensors of a network: channels of the field, `width` channels of the sums, and `with_map`.

    With a map it also takes the field of an old map, and answers three fields: present, lacking, gone.
    """

    headings: int = 8
    width: int = 64
    with_map: bool = False

    def __post_init__(self) -> None:
        if not (2 <= self.headings <= 64 and 4 <= self.width <= 1024):
            raise ConfigError(f"a field network of {self}", "give 2 to 64 headings and a width of 4 to 1024")

    @property
    def fields(self) -> int:
        """How many fields a window are answered."""
        return 3 if self.with_map else 1


class FieldReader(Protocol):
    """A trained network, as reading uses it."""

    @property
    def shape(self) -> FieldShape:
        """What decides its tensors."""

    def read(self, image_B3HW: FloatArray, seen_BHW: FloatArray, map_BCRS: FloatArray | None = None) -> FloatArray:
        """Logits float32 (B, fields x headings, H / 4, W / 4); arguments as of `FieldNetwork.forward`."""

    def packed(self) -> dict[str, AnyArray]:
        """Its weights by name, in half precision."""


def birds_eye(field: FieldSpec) -> BirdsEye:
    """The view that the field network takes."""
    return BirdsEye(field.window, field.shape[1] * IMAGE_PER_CELL)
