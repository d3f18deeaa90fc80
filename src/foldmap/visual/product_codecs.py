"""Plain product quantization of descriptors alone, where no scene with tracks is at hand (else `fit_codecs`)."""

from __future__ import annotations

from foldmap.coding.pq import ProductQuantizer
from foldmap.types import FloatArray
from foldmap.visual.codecs import Product
from foldmap.visual.serialize import StoredLayer


def pq_codec(means: FloatArray, parts: int, *, seed: int = 0, precision: str = "int8") -> Product:
    """Fit codebooks.

    Args:
        means: float32 (P, D), unit rows.
        parts: M, bytes a descriptor; a divisor of D.
        seed: of k-means.
        precision: of the codebooks as the file stores them.

    Raises:
        ConfigError: M does not divide D.
    """
    return Product(StoredLayer.of_quantizer(ProductQuantizer.fit(means, parts, seed=seed)), precision, "pq")
