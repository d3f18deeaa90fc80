"""Train a D-PQED layer on scenes of one's own: it takes descriptors to a few bytes and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.results import Begin, silent
from foldmap.api.training.runs import MODEL, run_to_end
from foldmap.api.training.trained_places import known_places, scene_place
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.scenes import read_scene
from foldmap.town.camera.visual_scene import TownPhotos, town_scene
from foldmap.training.places import Place, recorded, town_place
from foldmap.visual.codes.fit_codecs import DEFAULT_PARTS, descriptors_of, settings_for, shape_for
from foldmap.visual.dpq.adapt_codec import trainable_layer
from foldmap.visual.dpq.serialize import PRECISIONS, read_layer
from foldmap.visual.dpq.train import Descriptors, LayerTrainer
from foldmap.visual.features.extract import SiftExtractor, open_extractor
from foldmap.visual.features.photos import PhotoFeatures

_SMOKE_POINTS = 2000
_TOWN, _SMOKE_TOWN = (48, (480, 360)), (8, (240, 180))
"""Photos of a town's scene, and their width and height in pixels."""
FIRST_TOWN = 300
"""Seeds of the towns of `town_descriptors` begin here; the demo, the tests and the benchmarks ask about others."""
_SHOWN = {"loss": "loss", "held_out_loss": "held-out loss", "held_out_top1": "held-out top-1"}


@dataclass(frozen=True)
class VisualRun:
    """What a person decides about a run.

    Attributes:
        codec: "dpqed" (the paper's layer, which `--decoder` can adapt to a scene) or "dpqed+".
        parts: M, bytes a descriptor; 4 where None.
        epochs: of training; the codec's where None.
        rows: one of `foldmap.visual.dpq.train.ROWS`: what an epoch draws once.
        precision: of the model file: "half", "int8" or "int4".
        seed: of everything random.
        start: model file to begin with.
        smoke: a tiny run that shows that all parts fit together.
    """

    codec: str = "dpqed+"
    parts: int | None = None
    epochs: int | None = None
    rows: str = "track-means"
    precision: str = "int8"
    seed: int = 0
    start: Path | None = None
    smoke: bool = False

    def __post_init__(self) -> None:
        replace(settings_for(self.codec), rows=self.rows)
        if self.precision not in PRECISIONS:
            raise ConfigError(f"a layer is not stored in {self.precision!r}", f"choose one of {', '.join(PRECISIONS)}")
        for option, value in (("--parts", self.parts), ("--epochs", self.epochs)):
            if value is not None and value < 1:
                raise ConfigError(f"{option} {value}", "give a positive number")
        if self.parts is not None and self.start is not None:
            raise ConfigError("the model to begin with has its own number of parts", "leave --parts out")


@dataclass(frozen=True)
class LearnedScenes:
    """Descriptors of all points of some scenes, and where these are."""

    descriptors: Descriptors
    places: tuple[Place, ...]


def scene_descriptors(
    scenes: Sequence[Path], features: Sequence[Path] = (), photos: Sequence[Path] = (), begin: Begin = silent
) -> LearnedScenes:
    """The descriptors of all points of scenes: of ``foldmap build visual``, COLMAP models, or kaptures.

    Features are hloc HDF5 or COLMAP database, one a scene, what lies beside the models where empty; or SIFT, extracted
    from folders of photos, one a scene.

    Raises:
        ConfigError: not one a scene.
        MapInputError: a scene cannot be used, or has descriptors of another length than the first.
    """
    for option, given in (("--features", features), ("--photos", photos)):
        if given and len(given) != len(scenes):
            raise ConfigError(f"{len(given)} {option} for {len(scenes)} scenes", "give one a scene, in order")
    if features and photos:
        raise ConfigError("features come from a file or from photos", "give --features or --photos")
    report = begin("Reading scenes")
    found: list[Descriptors] = []
    places = []
    for number, folder in enumerate(scenes):
        seen = PhotoFeatures(photos[number], SiftExtractor(as_colmap=True)) if photos else None
        scene = read_scene(folder, features[number] if features else None, extracted=seen)
        data = descriptors_of(scene)
        places.append(scene_place(folder.resolve().name, scene.image_names, scene.camera_SE3_world))
        length, wanted = data.mean_PD.shape[1], (found or [data])[0].mean_PD.shape[1]
        if length != wanted:
            said = f"{folder} has descriptors of {length} numbers, {scenes[0]} of {wanted}"
            raise MapInputError(said, "give scenes of one feature")
        found.append(data)
        report(number + 1, len(scenes))
    return LearnedScenes(_joined(found), tuple(places))


def town_descriptors(seeds: Sequence[int], begin: Begin = silent, *, smoke: bool = False) -> LearnedScenes:
    """SIFT of photos of generated towns, a scene of 48 photos a seed; nothing recorded is in it. Smaller where `smoke`.

    Raises:
        MissingExtraError: COLMAP's SIFT is not installed.
    """
    extract, report = open_extractor("sift").extract, begin("Photographing towns")
    found, sizes = [], _SMOKE_TOWN if smoke else _TOWN
    for number, seed in enumerate(seeds):
        found.append(descriptors_of(town_scene(TownPhotos(seed, sizes[0], 1, sizes[1]), extract)))
        report(number + 1, len(seeds))
    return LearnedScenes(_joined(found), tuple(map(town_place, seeds)))


def _joined(found: Sequence[Descriptors]) -> Descriptors:
    """Scene after scene."""
    counts = np.concatenate([np.diff(one.first) for one in found])
    mean_PD, seen_OD = (np.concatenate([getattr(one, key) for one in found]) for key in ("mean_PD", "seen_OD"))
    return Descriptors(mean_PD, seen_OD, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def train_visual(learned: LearnedScenes, folder: Path, run: VisualRun, begin: Begin = silent) -> dict[str, Any]:
    """Train in a folder that is there, or go on there; write the layer, and sum up the run."""
    data, settings = learned.descriptors, settings_for(run.codec)
    settings = replace(settings, seed=run.seed, epochs=run.epochs or settings.epochs, rows=run.rows)
    if run.smoke:
        data, settings = data.take(_SMOKE_POINTS), replace(settings, epochs=2)
    start = None if run.start is None else trainable_layer(read_layer(run.start), settings.tau)
    shape = shape_for(run.codec, data, run.parts or DEFAULT_PARTS) if start is None else start.shape
    trainer = LayerTrainer(data, shape, settings, start)
    places = [*known_places(run.start), *learned.places]
    last = run_to_end(
        trainer, folder, begin, _SHOWN, lambda: recorded(trainer.best_layer().to_bytes(run.precision), places)
    )
    return {
        "model": str(folder / MODEL),
        "codec": run.codec,
        "parts": shape.parts,
        "learned_on": run.rows,
        "points": len(data.mean_PD),
        "places": [f"{place.kind} {place.name}" for place in learned.places],
        "model_bytes": (folder / MODEL).stat().st_size,
        "epochs": len(trainer.curve),
        "loss": last.loss,
        "held_out_top1": max(line.held_out_top1 for line in trainer.curve),
    }
