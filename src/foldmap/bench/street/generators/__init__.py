"""Generators trained on the same pairs as retrieval, in the styles that the paper compares with."""

from __future__ import annotations

from pathlib import Path

from foldmap.bench.street.generators.generator import Generator, Progress, read
from foldmap.bench.street.generators.pinet import PiNet
from foldmap.bench.street.generators.settings import PRESETS, GeneratorSettings, preset
from foldmap.bench.street.generators.topo_prnn import TopoPrnn
from foldmap.bench.street.generators.topo_tr import TopoTr
from foldmap.errors import ModelError

GENERATORS: dict[str, type[Generator]] = {kind.name: kind for kind in (TopoTr, TopoPrnn, PiNet)}
"""Styles by name."""

__all__ = [
    "GENERATORS",
    "PRESETS",
    "Generator",
    "GeneratorSettings",
    "PiNet",
    "Progress",
    "TopoPrnn",
    "TopoTr",
    "load_generator",
    "preset",
]


def load_generator(path: Path) -> Generator:
    """Read a generator of whatever style the file names.

    Raises:
        ModelError: the file is missing, damaged, or of another format.
        MissingExtraError: the packages of the ImageNet trunk are not installed.
    """
    name = read(path)[0]["name"]
    if name not in GENERATORS:
        raise ModelError(f"{path} holds a generator {name!r}", f"known are {', '.join(GENERATORS)}")
    return GENERATORS[name].load(path)
