"""Level 1: lossless coders of binary code maps."""

from foldmap.coding.context import ContextModel
from foldmap.coding.entropy import conditional_bits, zero_order_bits
from foldmap.coding.huffman_rle import HuffmanRleModel
from foldmap.coding.measure import measure
from foldmap.coding.registry import CODER_IDS, CODERS, DEFAULT_CODER, Coder, coder_class, coder_from_arrays

__all__ = [
    "CODERS",
    "CODER_IDS",
    "DEFAULT_CODER",
    "Coder",
    "ContextModel",
    "HuffmanRleModel",
    "coder_class",
    "coder_from_arrays",
    "conditional_bits",
    "measure",
    "zero_order_bits",
]
