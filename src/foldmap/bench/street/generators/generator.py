"""Generators: networks that draw a lane graph from an image, the rivals of retrieval; trained, used, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmap.atlas.whole import write_whole
from foldmap.bench.street.generators.common import GeneratorSettings, Head, Trunk
from foldmap.bench.street.generators.pinet import PiNet
from foldmap.bench.street.generators.topo_prnn import TopoPrnn
from foldmap.bench.street.generators.topo_tr import TopoTr
from foldmap.errors import ConfigError, MapInputError
from foldmap.street.graph.window import Window
from foldmap.street.source import LaneGraph
from foldmap.training.loop import descend
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes, pack_network, read_model_file, unpack_network
from foldmap.types import AnyArray, BoolArray, ByteArray

GENERATORS: dict[str, type[Head]] = {"topo-tr": TopoTr, "topo-prnn": TopoPrnn, "pinet": PiNet}
"""Styles that the paper compares with, by name."""

FORMAT = 2
MAX_BYTES = 256 << 20
_SEE_BATCH = 32
_SUITED = 256
"""Training images, at most, on which the probability to predict from is found; in the order of the pairs."""
_TRUNK_SHARE = 0.2
_WARM_UP = 0.05
_CURE = "train it anew"

Report = Callable[[int, int, float], None]
"""Told after each epoch: its number, how many there are, mean loss."""


class Generator(nn.Module):
    """A network of one of `GENERATORS`, from an image to a lane graph.

    Images uint8 (N, H, W, 3) show `settings.window` from above in the ego frame, row 0 ahead, column 0 left: aerial
    crops, or camera images warped to the ground with a mask bool (N, H, W) of what was seen.
    """

    def __init__(self, style: str, settings: GeneratorSettings, pretrained: bool = True) -> None:
        super().__init__()
        if style not in GENERATORS:
            raise ConfigError(f"there is no generator {style!r}", f"choose among {', '.join(GENERATORS)}")
        self.style, self.settings = style, settings
        self.trunk = Trunk(settings.trunk, settings.width, pretrained)
        self.head = GENERATORS[style](settings)

    @staticmethod
    def fit(
        style: str,
        images_NHWC: ByteArray,
        graphs: Sequence[LaneGraph],
        seen_NHW: BoolArray | None = None,
        settings: GeneratorSettings | None = None,
        seed: int = 0,
        report: Report = lambda epoch, epochs, loss: None,
    ) -> Generator:
        """Train on pairs. The same pairs, settings and seed give the same weights on one thread of one machine.

        Graphs are in the ego frame, one an image, and clipped to the window here; the preset "small" is trained where
        no settings are given.

        Raises:
            MapInputError: images, masks and graphs do not fit each other, or no graph has a lane in the window.
        """
        _check(images_NHWC, seen_NHW)
        if len(graphs) != len(images_NHWC):
            raise MapInputError(f"{len(images_NHWC)} images and {len(graphs)} graphs", "give one graph an image")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = Generator(style, settings or GeneratorSettings())
            made._train(*made._see(images_NHWC, seen_NHW), graphs, np.random.default_rng(seed), report)
        return made.eval()

    def _train(
        self, early: Tensor, seen: Tensor, graphs: Sequence[LaneGraph], rng: np.random.Generator, report: Report
    ) -> None:
        targets = [self.head.targets(graph, rng) for graph in graphs]
        if not any(len(target) for target in targets):
            raise MapInputError("there is no lane in the window to train on", "give graphs in the ego frame, in metres")
        self.head.start(targets, rng)
        self.train()
        late = list(self.trunk.late.parameters())
        known = {id(parameter) for parameter in (*late, *self.trunk.early.parameters())}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in known]
        rate, epochs = self.settings.learning_rate, self.settings.epochs
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": late, "lr": rate * _TRUNK_SHARE}]
        optimizer = torch.optim.AdamW(groups, rate)
        steps = epochs * -(-len(targets) // self.settings.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _course(step / steps))
        for epoch in range(1, epochs + 1):
            losses = []
            order = rng.permutation(len(targets))
            for first in range(0, len(order), self.settings.batch):
                rows = order[first : first + self.settings.batch]
                loss = self.head.loss(self.trunk(early[rows], seen[rows]), [targets[row] for row in rows], rng)
                descend(optimizer, loss, self)
                schedule.step()
                losses.append(float(loss.detach()))
            report(epoch, epochs, float(np.mean(losses)))
        if self.settings.exist is None:
            self._suit(early, seen, targets)

    @torch.no_grad()
    def _suit(self, early: Tensor, seen: Tensor, targets: Sequence[Any]) -> None:
        """Set the probability to predict from to what the style finds on images that it learned from, if it does."""
        self.eval()
        few = min(len(targets), _SUITED)
        maps = [self.trunk(early[at : at + _SEE_BATCH], seen[at : at + _SEE_BATCH]) for at in range(0, few, _SEE_BATCH)]
        few = sum(map(len, maps))
        least = self.head.suited(maps, targets[:few])
        if least is not None:
            self.settings = self.head.settings = replace(self.settings, exist=least)

    @torch.no_grad()
    def predict(self, images_NHWC: ByteArray, seen_NHW: BoolArray | None = None) -> list[LaneGraph]:
        """Draw a lane graph for each image: in the ego frame, within the window, vertices 1 m apart, or empty."""
        _check(images_NHWC, seen_NHW)
        graphs: list[LaneGraph] = []
        for first in range(0, len(images_NHWC), _SEE_BATCH):
            rows = slice(first, first + _SEE_BATCH)
            seen = self._see(images_NHWC[rows], None if seen_NHW is None else seen_NHW[rows])
            graphs += self.head.draw(self.trunk(*seen))
        return graphs

    @torch.no_grad()
    def _see(self, images_NHWC: ByteArray, seen_NHW: BoolArray | None) -> tuple[Tensor, Tensor]:
        self.eval()
        parts = []
        for first in range(0, len(images_NHWC), _SEE_BATCH):
            rows = slice(first, first + _SEE_BATCH)
            image = torch.from_numpy(np.ascontiguousarray(images_NHWC[rows]))
            mask = None if seen_NHW is None else torch.from_numpy(np.ascontiguousarray(seen_NHW[rows]))
            parts.append(self.trunk.see(image, mask, self.settings.image_px))
        return torch.cat([early for early, _ in parts]), torch.cat([seen for _, seen in parts])

    def save(self, path: Path) -> None:
        """Write weights and settings as safetensors, replacing the file at once."""
        info = {"format": FORMAT, "name": self.style, "settings": asdict(self.settings)}
        write_whole(path, model_to_bytes(pack_network(self, "single"), info))

    @staticmethod
    def load(path: Path) -> Generator:
        """Read what `save` wrote, trusting nothing (ModelError)."""
        parse = partial(model_from_bytes, build=_rebuilt, version=FORMAT, most_bytes=MAX_BYTES, cure=_CURE)
        return read_model_file(path, parse, MAX_BYTES, "bench street")


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> Generator:
    style, held = info["name"], info["settings"]
    rows, columns = held["image_px"]
    fixed = {"window": Window(**held["window"]), "image_px": (int(rows), int(columns))}
    settings = GeneratorSettings(**{**held, **fixed})
    return unpack_network(lambda: Generator(style, settings, pretrained=False), arrays, "single", _CURE)


def _course(share: float) -> float:
    """Learning rate over the training, 0 .. 1: a short rise, then half a cosine to nothing."""
    return min(1.0, (share + 1e-3) / _WARM_UP) * 0.5 * (1 + float(np.cos(np.pi * min(1.0, share))))


def _check(images_NHWC: ByteArray, seen_NHW: BoolArray | None) -> None:
    if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[3] != 3:
        raise MapInputError(f"the images are {images_NHWC.dtype} {images_NHWC.shape}", "give uint8 (N, H, W, 3)")
    if seen_NHW is not None and (seen_NHW.dtype != np.bool_ or seen_NHW.shape != images_NHWC.shape[:3]):
        what = f"the masks are {seen_NHW.dtype} {seen_NHW.shape} for images {images_NHWC.shape}"
        raise MapInputError(what, "give bool (N, H, W)")
