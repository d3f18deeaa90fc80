"""Row 6: seven-camera frames a second, from decoded images in memory to an embedding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, information
from benchmarks.street.data import street
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork
from foldmap.street.field.shape import FieldShape
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.encoders.shape import PRESETS
from foldmap.street.paper.model import PaperEmbedding, PaperNetwork


@dataclass(frozen=True)
class Encoding:
    """Row 6. The weights are random: they change no speed. The rig is the recorded one where it is here.

    Attributes:
        width_px: of the larger side of the images; the recorded rig's own sizes are measured too.
        frames: timed, after one that is not.
        least_hz: target, at `width_px`, as models are used by default.
        seed: of images and weights.
    """

    number: ClassVar[int] = 6
    name: ClassVar[str] = "encode"
    title: ClassVar[str] = "seven-camera frames a second"
    width_px: int = 512
    frames: int = 20
    least_hz: float = 5.0
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        try:
            ring, whose = street(board).ring(), "recorded rig"
        except RowSkipped:
            ring, whose = surround_ring(size_px=(2048, 1550)), "a rig of seven like cameras, no recorded one is here"
        torch.manual_seed(self.seed)
        network = FieldNetwork(FieldShape())
        note = f"{board.threads} threads, {len(ring)} cameras, {whose}; ground projection and network"
        for turns, what in ((4, "averaged over 4 turns, the default"), (1, "one turn")):
            model = FieldEmbedding(network, turns=turns)
            for width, size in ((self.width_px, f"{self.width_px} px"), (0, "full size")):
                rate = self._rate(model.embed_observations, ring, width)
                name = f"field model, {what}, images of {size}"
                if turns == 4 and width:
                    yield at_least(self.number, name, rate, self.least_hz, "Hz", note=note)
                else:
                    yield information(self.number, name, rate, "Hz")
        for preset in ("small", "paper"):
            paper = PaperEmbedding(PaperNetwork(PRESETS[preset]))
            rate = self._rate(paper.embed_observations, ring, self.width_px)
            yield information(
                self.number, f"paper's network, preset {preset}, images of {self.width_px} px", rate, "Hz"
            )

    def _rate(self, embed: Callable[[list[Any]], Any], ring: CameraRing, width_px: int) -> float:
        frames = [random_frame(ring, width_px, self.seed + k) for k in range(3)]
        embed([frames[0]])
        begin_s = time.perf_counter()
        for number in range(self.frames):
            embed([frames[number % len(frames)]])
        return self.frames / (time.perf_counter() - begin_s)


def random_frame(ring: CameraRing, width_px: int, seed: int) -> RingFrame:
    """Images of noise, the larger side of each `width_px`; 0: of the calibration's size."""
    rng = np.random.default_rng(seed)
    images = []
    for camera in ring.cameras:
        scale = width_px / max(camera.width_px, camera.height_px) if width_px else 1.0
        size = round(camera.height_px * scale), round(camera.width_px * scale), 3
        images.append(rng.integers(0, 256, size, dtype=np.uint8))
    return RingFrame(ring, tuple(images))
