"""Generators: networks that draw a lane graph from an image, the rivals of retrieval; trained, used, kept."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from foldmap.bench.street.generators.settings import GeneratorSettings
from foldmap.bench.street.generators.trunk import Trunk
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.street.graph.window import Window
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, ByteArray

FORMAT = 1
MAX_BYTES = 256 << 20
_SEE_BATCH = 32
_TRUNK_SHARE = 0.2
_WARM_UP = 0.05
_CLIP = 1.0


@dataclass(frozen=True)
class Progress:
    """What is reported after each epoch.

    Attributes:
        epoch: from 1.
        epochs: in all.
        loss: mean over the epoch.
    """

    epoch: int
    epochs: int
    loss: float


class Head(nn.Module, ABC):
    """What a style of generator adds to the trunk."""

    @abstractmethod
    def prepare(self, graphs: Sequence[LaneGraph], rng: np.random.Generator) -> list[Any]:
        """Targets, one a graph; may also start parameters from them."""

    @abstractmethod
    def loss(self, maps: Tensor, targets: list[Any], rng: np.random.Generator) -> Tensor:
        """The objective over a batch: maps (B, width, H/8, W/8) and the targets of those images."""

    @abstractmethod
    def draw(self, maps: Tensor) -> list[LaneGraph]:
        """Graphs in the ego frame, one an image; empty where the network finds no lane."""


class Generator(ABC):
    """An image to a lane graph.

    Images show `settings.window` from above in the ego frame: aerial crops, or camera images warped to the ground with
    a mask of what was seen.

    Args:
        settings: sizes.
        pretrained: start the trunk with ImageNet weights.

    Raises:
        MissingExtraError: the packages of the ImageNet trunk are not installed.
    """

    name: ClassVar[str]

    def __init__(self, settings: GeneratorSettings, pretrained: bool = True) -> None:
        self.settings = settings
        self.trunk = Trunk(settings.trunk, settings.width, pretrained)
        self.head = self._head(settings)

    @staticmethod
    @abstractmethod
    def _head(settings: GeneratorSettings) -> Head: ...

    @classmethod
    def fit(
        cls,
        images_NHWC: ByteArray,
        graphs: Sequence[LaneGraph],
        seen_NHW: BoolArray | None = None,
        settings: GeneratorSettings | None = None,
        seed: int = 0,
        report: Callable[[Progress], None] | None = None,
    ) -> Self:
        """Train on pairs. The same pairs, settings and seed give the same weights on one thread of one machine.

        Args:
            images_NHWC: uint8; row 0 is the edge ahead, column 0 the edge on the left.
            graphs: one an image, in the ego frame; clipped to the window here.
            seen_NHW: where the images show anything; everywhere if not given.
            settings: sizes and schedule; the preset "small" if not given.
            seed: of weights, order and noise.
            report: is told of each epoch.

        Raises:
            MapInputError: images, masks and graphs do not fit each other, or no graph has a lane.
            MissingExtraError: the packages of the ImageNet trunk are not installed.
        """
        settings = settings or GeneratorSettings()
        _check(images_NHWC, seen_NHW)
        if len(graphs) != len(images_NHWC):
            raise MapInputError(f"{len(images_NHWC)} images and {len(graphs)} graphs", "give one graph an image")
        if not any(len(graph.edges) for graph in graphs):
            raise MapInputError("there is no lane in the graphs to train on", "give graphs in the ego frame, in metres")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(settings)
            made._train(images_NHWC, graphs, seen_NHW, np.random.default_rng(seed), report)
        return made

    def _train(
        self,
        images_NHWC: ByteArray,
        graphs: Sequence[LaneGraph],
        seen_NHW: BoolArray | None,
        rng: np.random.Generator,
        report: Callable[[Progress], None] | None,
    ) -> None:
        early, seen = self._see(images_NHWC, seen_NHW)
        targets = self.head.prepare(graphs, rng)
        self.trunk.train()
        self.head.train()
        late = list(self.trunk.late.parameters())
        known = {id(parameter) for parameter in (*late, *self.trunk.early.parameters())}
        rest = [p for p in (*self.trunk.parameters(), *self.head.parameters()) if id(p) not in known]
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
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(rest + late, _CLIP)
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
            if report:
                report(Progress(epoch, epochs, float(np.mean(losses))))
        self.trunk.eval()
        self.head.eval()

    @torch.no_grad()
    def predict(self, images_NHWC: ByteArray, seen_NHW: BoolArray | None = None) -> list[LaneGraph]:
        """Draw a lane graph for each image.

        Returns:
            Graphs in the ego frame, within the window, joined where connections are predicted, vertices 1 m apart. A
            graph is empty where no lane is found: nothing is put in its place.

        Raises:
            MapInputError: the images are not uint8 (N, H, W, 3), or the masks do not fit them.
        """
        _check(images_NHWC, seen_NHW)
        self.trunk.eval()
        self.head.eval()
        graphs: list[LaneGraph] = []
        for first in range(0, len(images_NHWC), _SEE_BATCH):
            rows = slice(first, first + _SEE_BATCH)
            graphs += self.head.draw(
                self.trunk(*self._see(images_NHWC[rows], None if seen_NHW is None else seen_NHW[rows]))
            )
        return graphs

    @torch.no_grad()
    def _see(self, images_NHWC: ByteArray, seen_NHW: BoolArray | None) -> tuple[Tensor, Tensor]:
        self.trunk.eval()
        parts = []
        for first in range(0, len(images_NHWC), _SEE_BATCH):
            rows = slice(first, first + _SEE_BATCH)
            image = torch.from_numpy(np.ascontiguousarray(images_NHWC[rows]))
            mask = None if seen_NHW is None else torch.from_numpy(np.ascontiguousarray(seen_NHW[rows]))
            parts.append(self.trunk.see(image, mask, self.settings.image_px))
        return torch.cat([early for early, _ in parts]), torch.cat([seen for _, seen in parts])

    def save(self, path: Path) -> None:
        """Write weights and settings as safetensors, replacing the file at once."""
        tensors = {f"trunk.{key}": value for key, value in self.trunk.state_dict().items()}
        tensors |= {f"head.{key}": value for key, value in self.head.state_dict().items()}
        # one key: safetensors writes several in no fixed order
        info = json.dumps({"format": FORMAT, "name": self.name, "settings": asdict(self.settings)}, sort_keys=True)
        part = path.with_name(path.name + ".part")
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, part, metadata={"info": info})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged, of another format, or holds a generator of another style.
            MissingExtraError: the packages of the ImageNet trunk are not installed.
        """
        info, tensors = read(path)
        if info["name"] != cls.name:
            raise ModelError(f"{path} holds a {info['name']} generator", f"read it as one, this is {cls.name}")
        try:
            made = cls(settings_from(info["settings"]), pretrained=False)
            for prefix, module in (("trunk.", made.trunk), ("head.", made.head)):
                held = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
                module.load_state_dict(held)
        except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
            raise ModelError(f"the generator {path} does not fit: {error}", "train it anew") from error
        made.trunk.eval()
        made.head.eval()
        return made


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a generator's file says of itself, and its tensors.

    Raises:
        ModelError: the file is missing, damaged, too large or of another format.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than any generator", "give a file that a generator was saved in")
        with safe_open(path, framework="pt") as held:
            info = json.loads((held.metadata() or {})["info"])
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a dictionary
        if info["format"] != FORMAT or not isinstance(info["name"], str) or not isinstance(info["settings"], dict):
            raise ModelError(f"{path} holds a generator of another format", "train it anew")
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"no generator can be read from {path}: {error}", "train one and save it there") from error
    return info, tensors


def settings_from(held: dict[str, Any]) -> GeneratorSettings:
    """Settings as they are kept in a file."""
    return GeneratorSettings(
        **{**held, "window": Window(**held["window"]), "image_px": (int(held["image_px"][0]), int(held["image_px"][1]))}
    )


def _course(share: float) -> float:
    """Learning rate over the training, 0 .. 1: a short rise, then half a cosine to nothing."""
    return min(1.0, (share + 1e-3) / _WARM_UP) * 0.5 * (1 + float(np.cos(np.pi * min(1.0, share))))


def _check(images_NHWC: ByteArray, seen_NHW: BoolArray | None) -> None:
    if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[3] != 3:
        raise MapInputError(f"the images are {images_NHWC.dtype} {images_NHWC.shape}", "give uint8 (N, H, W, 3)")
    if seen_NHW is not None and (seen_NHW.dtype != np.bool_ or seen_NHW.shape != images_NHWC.shape[:3]):
        raise MapInputError(
            f"the masks are {seen_NHW.dtype} {seen_NHW.shape} for images {images_NHWC.shape}", "give bool (N, H, W)"
        )
