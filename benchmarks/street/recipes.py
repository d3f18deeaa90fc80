"""The models that the street rows measure: trained on the training tiles by these recipes, and never shipped.

They start from the shipped models, which have seen generated towns alone, as a user's would: from there 240 steps leave
less than half of the loss on the held-out tiles that they leave from ImageNet's trunk (0.30 against 0.67 nats a cell).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from foldmap.errors import ConfigError
from foldmap.street.field.examples import FieldExamples, aerial_examples, ring_examples
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.shape import FieldShape
from foldmap.street.field.train import PRESETS, FieldTrainer, FieldTrainSettings
from foldmap.street.images.observation import CameraRing
from foldmap.street.paper.pairs import GroundTile
from foldmap.training.loop import train

FILE = "model.safetensors"
FRAMES = 5000
SHIPPED = "shipped"


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        name: of the model.
        settings: of the run.
        cameras: None for aerial crops; else these cameras of the rig, all where empty (SEMI-SYNTHETIC).
        update: whether the network takes a map.
        start: recipe of the model that it starts from, or `SHIPPED`; the ImageNet trunk where empty.
        frames: of a ring, at most.
    """

    name: str
    settings: FieldTrainSettings = field(default_factory=lambda: PRESETS["small"])
    cameras: tuple[str, ...] | None = None
    update: bool = False
    start: str = ""
    frames: int = FRAMES

    @property
    def shape(self) -> FieldShape:
        """Of the network."""
        return FieldShape(with_map=self.update)

    def examples(
        self, tiles: Sequence[GroundTile], ring: CameraRing | None, report: Callable[[int, int], None]
    ) -> FieldExamples:
        """What it learns from."""
        if self.cameras is None:
            return aerial_examples(tiles, FieldSpec(), update=self.update)
        if ring is None:
            raise ConfigError(f"the recipe {self.name!r} needs a camera rig", "give its calibration")
        return ring_examples(tiles, ring, FieldSpec(), update=self.update, frames=self.frames, report=report)

    def seal(self, tiles: Sequence[GroundTile], start: FieldEmbedding | None) -> str:
        """A short name of all that decides the run."""
        what = {
            "settings": asdict(self.settings),
            "shape": asdict(self.shape),
            "field": asdict(FieldSpec()),
            "cameras": self.cameras,
            "frames": self.frames if self.cameras is not None else 0,
            "tiles": [tile.map.name for tile in tiles],
            "start": "" if start is None else hashlib.sha256(start.payload()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("aerial", FieldTrainSettings(steps=1000), start=SHIPPED),
        Recipe("fresh", FieldTrainSettings(steps=5000)),
        Recipe("ring", FieldTrainSettings(steps=800, learning_rate=1.5e-3), (), start="aerial"),
        Recipe("front", FieldTrainSettings(steps=600, learning_rate=1.5e-3), ("ring_front_center",), start="aerial"),
        Recipe("update", FieldTrainSettings(steps=1000), update=True, start=SHIPPED),
    )
}
"""By name. "fresh" is for tables in which others begin from ImageNet, too."""
_FILES = {"update": "upd", "fresh": "aerial"}


@dataclass(frozen=True)
class Measured:
    """A model that is measured.

    Attributes:
        model: of which.
        note: which file it is, and whether it was given.
    """

    model: FieldEmbedding
    note: str


def given_model(path: Path, name: str) -> Measured:
    """A model of `given_file`.

    Raises:
        ModelError: it is no field model, or the other kind of one.
    """
    return _read(path, RECIPES[name], "given")


def given_file(folder: Path, name: str) -> Path:
    """In somebody's folder ``NAME*.safetensors`` or ``NAME*/model.safetensors``; "upd*" is an update model.

    Raises:
        ConfigError: there is none, or there are several.
    """
    start = _FILES.get(name, name)
    found = sorted([*folder.glob(f"{start}*.safetensors"), *folder.glob(f"{start}*/{FILE}")])
    if len(found) != 1:
        raise ConfigError(f"{folder} holds {len(found)} models named {start}*", f"put exactly one there: {name}/{FILE}")
    return found[0]


def trained_model(
    cache: Path,
    recipe: Recipe,
    tiles: Sequence[GroundTile],
    ring: CameraRing | None,
    start: FieldEmbedding | None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Train by a recipe, or take what an earlier run of the same recipe trained; a stopped run goes on.

    Args:
        cache: folder of such models.
        recipe: of the model.
        tiles: the training tiles, no others.
        ring: calibration, for the cameras of the recipe.
        start: the trained model that it starts from.
        report: called with steps done and in all.
    """
    folder = cache / f"{recipe.name}-{recipe.seal(tiles, start)}"
    path = folder / FILE
    if not path.is_file():
        settings = recipe.settings
        examples = recipe.examples(tiles, ring, report)
        trainer = FieldTrainer(examples, recipe.shape, settings, None if start is None else start.network)
        for _ in train(trainer, folder, lambda progress: report(progress.step, settings.steps)):
            pass
        part = path.with_suffix(".part")
        part.write_bytes(FieldEmbedding(trainer.network, FieldSpec()).payload())
        os.replace(part, path)
    return _read(path, recipe, f"trained by its recipe, {recipe.settings.steps} steps")


def _read(path: Path, recipe: Recipe, how: str) -> Measured:
    payload = path.read_bytes()
    model = FieldEmbedding.from_payload(payload)
    if model.network.shape.with_map != recipe.update:
        raise ConfigError(f"{path} is not a model for {recipe.name!r}", "give the one that was trained for it")
    seal = hashlib.sha256(payload).hexdigest()[:12]
    return Measured(model, f"model {recipe.name} {seal}, {how}: {path.parent.name}/{path.name}")
