"""The lossless coders by name and by the number a file stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

from foldmap.coding.context import ContextModel
from foldmap.coding.huffman_rle import HuffmanRleModel
from foldmap.errors import ConfigError, ModelError
from foldmap.types import AnyArray, ByteArray


class Coder(Protocol):
    """A fitted lossless coder of code tiles uint8 (G, H, W)."""

    name: ClassVar[str]
    format: ClassVar[int]

    @classmethod
    def fit(cls, tiles: Sequence[ByteArray], symbols: int | None = None) -> Self:
        """Fit on tiles whose codes are 0..symbols."""
        ...

    def encode(self, codes: ByteArray) -> bytes:
        """Payload of one tile."""
        ...

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> ByteArray:
        """The tile of a payload; MapFormatError for bytes that ``encode`` does not write."""
        ...

    def to_arrays(self) -> dict[str, AnyArray]:
        """The fitted state, for a file."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The coder of ``to_arrays``; ModelError when malformed."""
        ...


CODERS: dict[str, type[Coder]] = {"huffman-rle": HuffmanRleModel, "context": ContextModel}
CODER_IDS = {"huffman-rle": 1, "context": 2}
DEFAULT_CODER = "context"


def coder_class(name: str) -> type[Coder]:
    """The coder called ``name``; ConfigError when there is none."""
    if name not in CODERS:
        raise ConfigError(f"there is no coder {name!r}", f"choose one of {', '.join(CODERS)}")
    return CODERS[name]


def coder_from_arrays(coder: str | int, arrays: Mapping[str, AnyArray]) -> Coder:
    """The fitted coder that a file stores under a name or id; ModelError when unknown or malformed."""
    names = {number: name for name, number in CODER_IDS.items()}
    name = names.get(coder, "") if isinstance(coder, int) else coder
    if name not in CODERS:
        raise ModelError(f"the file names coder {coder!r}, which this version does not know", "update foldmap")
    return CODERS[name].from_arrays(arrays)
