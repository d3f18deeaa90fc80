"""Sizes and schedule of the generators."""

from __future__ import annotations

from dataclasses import dataclass, field

from foldmap.errors import ConfigError
from foldmap.street.graph.window import AROUND, Window

STRIDE_PX = 16
"""Pixels of an image under one cell of the trunk's coarsest features."""
TRUNKS = ("lite0", "random")


@dataclass(frozen=True)
class GeneratorSettings:
    """What a generator is built and trained with.

    Attributes:
        window: what the images show and the graphs cover.
        image_px: rows and columns that images are scaled to before the trunk, multiples of 16.
        trunk: "lite0", EfficientNet-lite0 with ImageNet weights, or "random", a small network of random start.
        width: channels of everything behind the trunk, a multiple of 8.
        queries, layers: of TOPO-TR: lines at most that it predicts an image, and decoder layers.
        epochs: passes over the training pairs.
        batch: pairs a step.
        learning_rate: of all but the trunk, at its peak; the trunk's late blocks learn with a fifth.
        exist: a line or key point of at least this probability is predicted; None for what suits the style.
        link: a connection of at least this probability is predicted.
        shortest_m: lines shorter than this are neither taught nor predicted.

    Raises:
        ConfigError: a value that cannot be used; the message names it.
    """

    window: Window = field(default=AROUND)
    image_px: tuple[int, int] = (160, 160)
    trunk: str = "lite0"
    width: int = 64
    queries: int = 48
    layers: int = 3
    epochs: int = 6
    batch: int = 16
    learning_rate: float = 1e-3
    exist: float | None = None
    link: float = 0.5
    shortest_m: float = 1.0

    def __post_init__(self) -> None:
        if any(side < STRIDE_PX or side % STRIDE_PX for side in self.image_px):
            raise ConfigError(f"images of {self.image_px} px", f"give multiples of {STRIDE_PX}")
        if self.trunk not in TRUNKS:
            raise ConfigError(f"no trunk is called {self.trunk!r}", f"give one of {', '.join(TRUNKS)}")
        if self.width < 8 or self.width % 8:
            raise ConfigError(f"a width of {self.width} channels", "give a multiple of 8")
        for name in ("queries", "layers", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} {name}", "give at least one")
        for name in ("learning_rate", "exist", "link", "shortest_m"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)}", "give a positive number")


PRESETS = {
    "small": GeneratorSettings(),
    "tiny": GeneratorSettings(trunk="random", width=32, queries=16, layers=2, epochs=4, image_px=(64, 64)),
}
"""Settings by name: "small" trains within eight minutes of one core on 4,000 pairs, "tiny" in seconds, for trials."""
