"""The layers of the field's network by name: what its weights must be, with torch and without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foldmap.street.field.shape import BLOCKS, TAPS, FieldShape

STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""EfficientNet-lite0."""
EPS = 1e-3


@dataclass(frozen=True)
class Bottleneck:
    """One block of lite0: widen, convolve each channel, narrow; the input is added where shapes agree."""

    channels: int
    out: int
    kernel: int
    stride: int
    expansion: int

    @property
    def wide(self) -> int:
        """Channels between."""
        return self.channels * self.expansion

    @property
    def adds(self) -> bool:
        """Whether the input is added."""
        return self.stride == 1 and self.channels == self.out


def bottlenecks() -> Iterator[Bottleneck]:
    """The blocks of lite0 in order."""
    channels = 32
    for repeats, kernel, stride, expansion, out in STAGES:
        for number in range(repeats):
            yield Bottleneck(channels, out, kernel, stride if number == 0 else 1, expansion)
            channels = out


def field_shapes(shape: FieldShape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of `foldmap.street.field.network.FieldNetwork`."""
    sizes: dict[str, tuple[int, ...]] = {}

    def normed(name: str, norm: str, *kernel: int) -> None:
        sizes[f"{name}.weight"] = kernel
        sizes.update({f"{norm}.{part}": kernel[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    def biased(name: str, *kernel: int) -> None:
        sizes.update({f"{name}.weight": kernel, f"{name}.bias": kernel[:1]})

    normed("stem", "stem_norm", 32, 3, 3, 3)
    for number, block in zip(range(BLOCKS), bottlenecks(), strict=False):
        root = f"blocks.{number}"
        if block.expansion > 1:
            normed(f"{root}.expand_conv", f"{root}.bn0", block.wide, block.channels, 1, 1)
        normed(f"{root}.depthwise_conv", f"{root}.bn1", block.wide, 1, block.kernel, block.kernel)
        normed(f"{root}.project_conv", f"{root}.bn2", block.out, block.wide, 1, 1)
    for number, channels in enumerate(TAPS.values()):
        biased(f"taps.{number}", shape.width, channels, 1, 1)
    for name, inputs in mixes(shape):
        normed(f"{name}.0", f"{name}.1", shape.width, inputs, 3, 3)
    biased("head", shape.fields * shape.headings, shape.width, 1, 1)
    return sizes


def mixes(shape: FieldShape) -> Iterator[tuple[str, int]]:
    """Names and inputs of the convolutions that mix sums, and of those that read an old map."""
    for number, count in enumerate((2, 1, 2)):
        yield from ((f"sums.{number}.{step}", shape.width) for step in range(count))
    if shape.with_map:
        yield from (("map_steps.0.0", shape.headings), ("map_steps.0.1", shape.width))
        yield from ((f"map_steps.{number}", shape.width) for number in (1, 2))
