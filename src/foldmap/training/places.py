"""Where a model was trained, kept in its file, so that nobody asks it about the same places and calls that a result.

A place is told by items of it: hashes of what is there (a lane graph, a photo, a pose), at most 64 of them; by a box on
the Earth where it has one; a generated town by its seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load, save

from foldmap.errors import ConfigError, ModelError
from foldmap.training.model_bytes import read_info

KEY = "places"
"""Of a model's description."""
PROVENANCE = "provenance.json"
"""Beside shipped models: name -> SHA-256, recipe and training places."""
TOWN = "town"
"""Kind of a generated town; its name is its seed."""
MOST_ITEMS = 64
"""A sketch, those with the smallest hashes: queries that are a tenth of the training frames miss all 64 once in a
thousand times."""
_CURE = "use a model written by foldmap"


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        kind: "town", "town pairs", "street map", "drive", "raster" or "scene".
        name: for people; of a town its seed.
        items: 12 hex digits each, ascending.
        box_deg: west, south, east, north, degrees; None for what is nowhere on the Earth.
    """

    kind: str
    name: str
    items: tuple[str, ...] = ()
    box_deg: tuple[float, float, float, float] | None = None

    def sketched(self) -> Place:
        """With few items, as a model keeps it."""
        return replace(self, items=self.items[:MOST_ITEMS])

    def meets(self, other: Place) -> bool:
        """Whether two places have ground or observations in common."""
        if self.kind == other.kind == TOWN:
            return self.name == other.name
        if set(self.items) & set(other.items):
            return True
        if self.box_deg is None or other.box_deg is None:
            return False
        west, south, east, north = self.box_deg
        w, s, e, n = other.box_deg
        return west < e and w < east and south < n and s < north


def town_place(seed: int) -> Place:
    """A generated town."""
    return Place(TOWN, str(seed))


def place_of(
    kind: str, name: str, things: Iterable[bytes], box_deg: tuple[float, float, float, float] | None = None
) -> Place:
    """A place by the bytes of what is there."""
    items = sorted({hashlib.sha256(one).hexdigest()[:12] for one in things})
    return Place(kind, name, tuple(items), box_deg)


def recorded(payload: bytes, places: Iterable[Place]) -> bytes:
    """A model's bytes with the places that it was trained on, besides those that it names already."""
    info = read_info(payload, _CURE)
    told = {one.kind + "\0" + one.name: one.sketched() for one in [*places_of(payload), *places]}
    info[KEY] = [{k: v for k, v in asdict(told[key]).items() if v} for key in sorted(told)]
    return bytes(save(load(payload), metadata={"info": json.dumps(info, sort_keys=True)}))


def unrecorded(payload: bytes) -> bytes:
    """A model's bytes without its places, as models ship: what is said of those stands in ``provenance.json``."""
    info = read_info(payload, _CURE)
    info.pop(KEY, None)
    return bytes(save(load(payload), metadata={"info": json.dumps(info, sort_keys=True)}))


def places_of(payload: bytes) -> list[Place]:
    """Where a model says that it was trained; empty where it says nothing.

    Raises:
        ModelError: what it says is no list of places.
    """
    told: Any = read_info(payload, _CURE).get(KEY, [])
    try:
        return [_read(dict(one)) for one in told]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"the model's training places cannot be read: {error}", _CURE) from error


def shipped_places(folder: Path, payload: bytes) -> list[Place]:
    """Where a shipped model was trained, as ``provenance.json`` beside the models says; empty for any other model.

    Maps name a shipped model by the SHA-256 of its file, so what is said of it later stands beside it.
    """
    path, seal = folder / PROVENANCE, hashlib.sha256(payload).hexdigest()
    if not path.is_file():
        return []
    told = json.loads(path.read_text(encoding="utf-8")).values()
    return [_read(dict(place)) for one in told if one["sha256"] == seal for place in one[KEY]]


def _read(told: dict[str, Any]) -> Place:
    box = told.get("box_deg")
    if box is not None:
        west, south, east, north = (float(value) for value in box)
        box = west, south, east, north
    return Place(str(told["kind"]), str(told["name"]), tuple(str(one) for one in told.get("items", ())), box)


def refuse_overlap(model: str, trained: Sequence[Place], asked: Sequence[Place]) -> None:
    """Raise where a model was trained on what is asked.

    Raises:
        ConfigError: it names the model, both places and the cure.
    """
    for one in trained:
        for other in asked:
            if one.meets(other):
                raise ConfigError(
                    f"{model} was trained on {one.kind} {one.name}, and {other.kind} {other.name} is asked of it",
                    "hold other places out, or give a model that was trained without these",
                )
