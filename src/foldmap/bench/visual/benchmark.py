"""The visual benchmark on anybody's scenes: the paper's tables and figure 2 on one page."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.bench.common.tables import Picture
from foldmap.bench.visual.methods import Line, MapSpec
from foldmap.bench.visual.page import SceneResults, VisualResults, write_visual
from foldmap.bench.visual.pictures import correspondences
from foldmap.bench.visual.predict import measure_all
from foldmap.bench.visual.protocol import DEFAULT_THRESHOLDS, HeldOut
from foldmap.bench.visual.tables import Sizes, chosen_tables, wanted_by
from foldmap.bench.visual.workshop import Workshop
from foldmap.errors import ConfigError
from foldmap.metrics.camera_pose import Threshold
from foldmap.visual.dpq.serialize import read_layer
from foldmap.visual.dpq.train import LayerSettings

BUDGETS = (300_000, 150_000, 60_000, 30_000)
EPOCHS, STEPS = 30, 1000
"""The paper's epochs, of 1.5 million points; small scenes get as many as make so many steps."""
_QUICK_QUERIES, _QUICK_EPOCHS, _QUICK_STEPS, _QUICK_BUDGETS, _QUICK_TRIALS, _TRIALS = 12, 3, 60, 2, 8, 24

Stage = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class VisualBenchSettings:
    """What decides a visual benchmark apart from its scenes."""

    tables: tuple[str, ...] = ()  # names of `TABLES`; all where empty
    methods: tuple[str, ...] = ()  # keep maps whose name starts with one of these; all where empty
    budgets: tuple[int, ...] = BUDGETS  # bytes of table 2 and of foldmap's and the simple files
    thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS  # of accuracy, in the scenes' unit and degrees
    epochs: int | None = None  # of training; None for the paper's 30, or what gives 1,000 steps of 1,000 points
    weights: Path | None = None  # of a learned matcher; None leaves it out
    decoder: Path | None = None  # a trained D-PQED layer, to be adapted to each scene
    quick: bool = False  # a dozen queries, 60 steps of training, two budgets, fewer M
    seed: int = 0  # of every random choice

    def __post_init__(self) -> None:
        if not self.thresholds or any(not (a > 0 and b > 0) for a, b in self.thresholds):
            raise ConfigError(f"thresholds {self.thresholds}", "give positive distances and angles")
        if any(budget < 1 for budget in self.budgets) or (self.epochs is not None and self.epochs < 1):
            raise ConfigError(f"budgets {self.budgets}, {self.epochs} epochs", "give positive numbers")
        chosen_tables(self.tables)


@dataclass(frozen=True)
class BenchScene:
    """One scene to be measured."""

    held_out: HeldOut  # scene and queries
    photos: Path | None = None  # folder of its photos, for figure 2; None leaves that out


def run_visual(
    scenes: Sequence[BenchScene],
    folder: Path,
    settings: VisualBenchSettings,
    *,
    command: str = "",
    stage: Stage = lambda name: lambda done, total: None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure every method on every scene, and write tables, plots, pictures and a page; returns rows by "scene/table".

    The folder gets everything; answers and trained layers are kept in it and taken up by the next run. ``stage`` is
    called with a stage's name and gives a callback (done, total). Raises ConfigError: two scenes of one name, or what
    the folder keeps was measured otherwise.
    """
    names = [scene.held_out.name for scene in scenes]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"scenes {', '.join(names) or 'none'}", "give one or more, each with a name of its own")
    tables = chosen_tables(settings.tables)
    measured = [_measured(scene, folder, settings, stage) for scene in scenes]
    results = VisualResults(measured, tables, settings.thresholds, _lead(settings), command)
    return write_visual(results, folder)


def _measured(scene: BenchScene, folder: Path, settings: VisualBenchSettings, stage: Stage) -> SceneResults:
    held_out = scene.held_out.thinned(_QUICK_QUERIES) if settings.quick else scene.held_out
    epochs = _epochs(len(held_out.scene.points_world), settings)
    kept = folder / "kept" / held_out.name
    trials = _QUICK_TRIALS if settings.quick else _TRIALS
    images = _epochs(len(held_out.scene.tracks.point), settings)
    decoder = None if settings.decoder is None else read_layer(settings.decoder)
    workshop = Workshop(
        held_out.scene, epochs=epochs, image_epochs=images, seed=settings.seed, folder=kept / "layers", trials=trials,
        decoder=decoder,
    )  # fmt: skip
    lines = _lines(workshop, settings, 0 if decoder is None else decoder.shape.parts)
    identity: dict[str, Any] = {
        "epochs": epochs,
        "image_epochs": images,
        "seed": settings.seed,
        "quick": settings.quick,
    }
    if settings.decoder is not None:
        identity["decoder"] = hashlib.sha256(settings.decoder.read_bytes()).hexdigest()

    def progress(name: str, done: int, total: int) -> None:
        """Name a stage after the map that is being made."""
        if name:
            stage(f"{held_out.name}: {name} ({done + 1} of {total})")

    wanted = [one for rows in lines.values() for one in wanted_by(rows)]
    found = measure_all(wanted, held_out, workshop, identity, kept / "answers", progress)
    pictures: list[Picture] = []
    note = ""
    if scene.photos is None:
        note = "Correspondences (figure 2) are left out: no photos were given."
    elif specs := _compared(lines):
        stage(f"{held_out.name}: correspondences")
        pictures = correspondences(held_out, workshop, scene.photos, specs)
    return SceneResults(held_out, lines, found, pictures, note)


def _epochs(rows: int, settings: VisualBenchSettings) -> int:
    least, steps = (_QUICK_EPOCHS, _QUICK_STEPS) if settings.quick else (EPOCHS, STEPS)
    each = math.ceil(rows * (1 - LayerSettings.validation) / LayerSettings.batch)
    return settings.epochs or max(least, math.ceil(steps / each))


def _lines(workshop: Workshop, settings: VisualBenchSettings, decoder_parts: int) -> dict[str, list[Line]]:
    points, dimension = workshop.means.shape
    budgets = settings.budgets[-_QUICK_BUDGETS:] if settings.quick else settings.budgets
    parts = (32, 4, 2) if settings.quick else (32, 16, 8, 4, 2)
    weights = "" if settings.weights is None else str(settings.weights)
    sizes = Sizes(points, dimension, budgets, parts, weights, workshop.scene.feature, decoder_parts)
    tables = chosen_tables(settings.tables)
    found = {name: table.rows(sizes, settings.methods) for name, table in tables.items()}
    if not any(found.values()):
        raise ConfigError(
            f"no map is called {' or '.join(settings.methods)}...",
            "choose among observations, track-means, raw, pq, simple, foldmap",
        )
    return found


def _compared(lines: dict[str, list[Line]]) -> list[MapSpec]:
    """Codecs of figure 2: PQ and the D-PQED of as many bytes, of those that were measured."""
    specs = dict.fromkeys(line.spec for rows in lines.values() for line in rows)
    layers = [s for s in specs if s.codec == "layer" and s.select == "all" and not s.symmetric and s.recipe == "dpqed"]
    part = layers[0].parts if layers else next((s.parts for s in specs if s.codec == "pq" and s.select == "all"), 0)
    return [MapSpec("pq", part), *layers[:1]] if part else []


def _lead(settings: VisualBenchSettings) -> str:
    short = " A quick run: few queries, sixty steps of training; its figures are no results." if settings.quick else ""
    return (
        "Images taken out of each scene, with all that they observed, are localized in what is left of it. A query "
        f"without an answer has infinite error and counts in every figure.{short}"
    )
