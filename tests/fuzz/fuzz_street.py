"""Lies in a street layer under sound checksums: ``python tests/fuzz/fuzz_street.py --seconds 300``.

Each round takes the golden file, changes a tile, the model or a parameter, seals it anew and reads all of it. That must
end in a MapFormatError, a ModelError or a LimitError, or in finite numbers, in bounded time and memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz_visual import Parts, main

from foldmap.atlas import FoldFile
from foldmap.street.unfold import FoldedStreet

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1-street.fold"
LAYER = "street"


def use(path: Path) -> bool:
    """Read all regions; whether every number is finite."""
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        numbers = []
        for region in layer.regions:
            places = layer.places(region.name)
            numbers += [layer.graph(region.name).vertices_m, places.xy_m, places.heading_rad]
            if layer.codec is not None:
                numbers.append(layer.embeddings(region.name))
        if layer.model_name is not None:
            layer.model_bytes()
    return all(np.isfinite(array).all() for array in numbers)


if __name__ == "__main__":
    main(__doc__, Parts.of(GOLDEN, LAYER), use)
