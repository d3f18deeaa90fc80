"""The lossless coders by the name that a file stores."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

from foldmap.coding.context import ContextModel
from foldmap.coding.huffman_rle import HuffmanRleModel
from foldmap.errors import ModelError
from foldmap.types import AnyArray, ByteArray


class Coder(Protocol):
    """A fitted lossless coder of code tiles uint8 (G, H, W)."""

    name: ClassVar[str]
    format: ClassVar[int]

    @classmethod
    def fit(cls, tiles: Sequence[ByteArray], symbols: int | None = None) -> Self:
        """Fit on tiles whose codes are 0..symbols."""

    def encode(self, codes: ByteArray) -> bytes:
        """Payload of one tile."""

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> ByteArray:
        """The tile of a payload; MapFormatError for bytes that ``encode`` does not write."""

    def to_arrays(self) -> dict[str, AnyArray]:
        """The fitted state, for a file."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The coder of ``to_arrays``; ModelError when malformed."""


CODERS: dict[str, type[Coder]] = {"huffman-rle": HuffmanRleModel, "context": ContextModel}


def coder_from_arrays(name: str, arrays: Mapping[str, AnyArray]) -> Coder:
    """The fitted coder that a file stores under a name; ModelError when unknown or malformed."""
    if name not in CODERS:
        raise ModelError(f"the file names coder {name!r}, which this version does not know", "update foldmap")
    return CODERS[name].from_arrays(arrays)
