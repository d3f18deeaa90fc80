"""Lay trained models together as they ship: ``python -m benchmarks.shipped WEIGHTS LAYER NAME...``.

WEIGHTS/NAME/model.safetensors becomes WEIGHTS/shipped/LAYER/NAME.safetensors, without the places it was trained on:
those stand beside shipped models, in ``provenance.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from foldmap.training.places import unrecorded


def lay(weights: Path, layer: str, names: Sequence[str]) -> list[Path]:
    """The files written, one a name."""
    folder = weights / "shipped" / layer
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.safetensors" for name in names]
    for name, path in zip(names, written, strict=True):
        path.write_bytes(unrecorded((weights / name / "model.safetensors").read_bytes()))
    return written


if __name__ == "__main__":
    lay(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
