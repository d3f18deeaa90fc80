"""Sizes of the networks: what fixes the shape of every tensor, and what the networks see."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from foldmap.errors import ConfigError, FoldmapError, ModelError
from foldmap.street.graph.window import Window

DIRECTIONS = ("undirected", "directed")
POOLINGS = ("mean", "mean-max")
TRUNKS = ("efficientnet-lite0", "small")
_CURE = "use a model written by foldmap"


@dataclass(frozen=True)
class GraphShape:
    """Sizes of the graph encoder.

    Attributes:
        step_m: vertices stand this far apart along a chain.
        max_vertices: a graph with more is resampled coarser until it fits, or refused; nothing is cut off.
        width, heads: of a vertex's feature, and of the attention; they divide the width.
        layers: transformer blocks; a vertex sees as many edges far.
        frequencies: octaves of the Fourier features of a position.
        direction: whether a vertex attends along edges both ways, or to its successors alone.
        edge_bias: whether each head learns a bias of its scores for self, ahead and behind, lane and link.
        pooling: of the vertices: their mean, or mean and maximum side by side.
    """

    step_m: float = 2.0
    max_vertices: int = 4096
    width: int = 128
    heads: int = 4
    layers: int = 4
    frequencies: int = 6
    direction: str = "undirected"
    edge_bias: bool = False
    pooling: str = "mean"

    def __post_init__(self) -> None:
        _within("vertex step in metres", self.step_m, 0.1, 100)
        _within("most vertices", self.max_vertices, 16, 1 << 16)
        _within("graph width", self.width, 4, 2048)
        _within("heads", self.heads, 1, 64)
        _within("graph layers", self.layers, 1, 32)
        _within("frequencies", self.frequencies, 1, 16)
        if self.width % self.heads:
            raise ConfigError(f"{self.heads} heads do not divide a width of {self.width}", "give a divisor")
        _one_of("direction", self.direction, DIRECTIONS)
        _one_of("pooling", self.pooling, POOLINGS)


@dataclass(frozen=True)
class ImageShape:
    """Sizes of the image encoder.

    Every image is resized to `height_px` x `width_px`; the rays of its pixels say what that did to the aspect. A
    camera's feature map is averaged over grid x grid cells (1 is plain global average pooling), each brought to
    `cell_channels`. `width` is of a camera's feature.
    """

    trunk: str = "small"
    height_px: int = 128
    width_px: int = 128
    grid: int = 4
    cell_channels: int = 64
    width: int = 256

    def __post_init__(self) -> None:
        _one_of("image trunk", self.trunk, TRUNKS)
        _within("image height in px", self.height_px, 32, 1024)
        _within("image width in px", self.width_px, 32, 1024)
        _within("grid", self.grid, 1, 16)
        _within("cell channels", self.cell_channels, 1, 2048)
        _within("camera width", self.width, 4, 4096)


@dataclass(frozen=True)
class PaperShape:
    """Sizes of both networks: `dim` of the embedding that they share, `window` that graphs and aerial crops cover."""

    name: str = "small"
    dim: int = 256
    window: Window = field(default_factory=Window)
    graph: GraphShape = field(default_factory=GraphShape)
    image: ImageShape = field(default_factory=ImageShape)

    def __post_init__(self) -> None:
        _within("embedding dimension", self.dim, 2, 4096)
        if not self.name or len(self.name) > 80:
            raise ConfigError(f"{self.name!r} is no name for a model", "give 1 to 80 characters")

    @staticmethod
    def from_dict(data: Any) -> PaperShape:
        """Rebuild from what `asdict` gave, trusting nothing (ModelError)."""
        try:
            parts = {"window": Window, "graph": GraphShape, "image": ImageShape}
            values = _checked(PaperShape, data, set(parts))
            made = {name: kind(**_checked(kind, data[name])) for name, kind in parts.items()}
            return PaperShape(**values, **made)
        except ModelError:
            raise
        except FoldmapError as error:
            raise ModelError(f"the model's shape is unusable: {error.message}", _CURE) from error


_Kind = TypeVar("_Kind")


def _checked(kind: type[_Kind], data: Any, apart: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    types = {item.name: str(item.type) for item in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(data, dict) or set(data) != set(types):
        raise ModelError(f"the model's {kind.__name__} has unknown or missing fields", _CURE)
    plain = {"int": int, "float": float, "str": str, "bool": bool}
    for name in types.keys() - apart:
        if type(data[name]) is not plain[types[name]]:
            raise ModelError(f"the model's {kind.__name__}.{name} is of a wrong type", _CURE)
    return {name: data[name] for name in types.keys() - apart}


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"a {what} of {value}", f"give {low} to {high}")


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"there is no {what} {value!r}", f"choose one of {', '.join(known)}")


PRESETS = {
    shape.name: shape
    for shape in (
        PaperShape(
            "paper",
            512,
            graph=GraphShape(1.0, width=256, heads=8, layers=6),
            image=ImageShape("efficientnet-lite0", 224, 224, 1, 1280, 512),
        ),
        PaperShape("small", 256, graph=GraphShape(edge_bias=True, pooling="mean-max")),
        PaperShape(
            "tiny",
            32,
            graph=GraphShape(4.0, width=32, heads=2, layers=2, edge_bias=True, pooling="mean-max"),
            image=ImageShape("small", 48, 48, 3, 16, 64),
        ),
    )
}
"""By name: "paper" is the paper's construction, "small" trains on two cores, "tiny" is for demonstrations."""


def shape_named(name: str) -> PaperShape:
    """Look a preset up (ConfigError: no such preset)."""
    if name not in PRESETS:
        raise ConfigError(f"there is no street preset {name!r}", f"choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
