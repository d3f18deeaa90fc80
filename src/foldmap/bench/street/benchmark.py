"""The street benchmark on anybody's images and maps: every table, plot and picture on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.street import methods
from foldmap.bench.street.data import StreetData, graphs_of, places_of, thinned
from foldmap.bench.street.generators import GENERATORS, PRESETS
from foldmap.bench.street.library import Library
from foldmap.bench.street.localization import (
    Localization,
    LocalizationSettings,
    measure_localization,
    through_images,
)
from foldmap.bench.street.page import StreetResults, write_street
from foldmap.bench.street.predict import Kept, seal_of
from foldmap.bench.street.retrieval import Retrieval, RetrievalSettings, Scored, measure_retrieval, score
from foldmap.bench.street.sizes import FRACTIONS, Size, measure_sizes
from foldmap.bench.street.tables import chosen_tables
from foldmap.bench.street.updates import Updates, UpdateSettings, measure_updates
from foldmap.errors import ConfigError
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import StreetMap

Stage = Callable[[str], Callable[[int, int], None]]

QUICK = RetrievalSettings(queries=40, library=1200, images=120, generator=PRESETS["tiny"])
QUICK_PLACES = LocalizationSettings(singles=25, drives=3, frames=10)
QUICK_UPDATES = UpdateSettings(windows=24, drives=4, frames=4)


@dataclass(frozen=True)
class StreetModels:
    """What is measured.

    Attributes:
        main: of aerial crops; tables that need it are left out where None.
        ring: of camera rings.
        front: of the front camera alone; the ring's model with the other cameras missing where None.
        update: whose network takes a map.
        paper: the paper's model, for a row of its own.
    """

    main: EmbeddingModel | None = None
    ring: EmbeddingModel | None = None
    front: EmbeddingModel | None = None
    update: FieldEmbedding | None = None
    paper: EmbeddingModel | None = None


@dataclass(frozen=True)
class StreetBenchSettings:
    """What decides a street benchmark apart from data and models.

    Attributes:
        tables: names of `TABLES`; all where empty.
        quick: few queries, a small library, tiny generators.
        seed: of every random choice.
        retrieval, places, updates: sizes of the tables; those of a quick run where `quick`.
    """

    tables: tuple[str, ...] = ()
    quick: bool = False
    seed: int = 0
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    places: LocalizationSettings = LocalizationSettings()  # noqa: RUF009 - frozen
    updates: UpdateSettings = UpdateSettings()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        chosen_tables(self.tables)
        odd = [style for style in self.retrieval.generators if style not in GENERATORS]
        if odd:
            raise ConfigError(f"there is no generator {odd[0]!r}", f"choose among {', '.join(GENERATORS)}")
        if self.quick:
            quick = replace(QUICK, generators=self.retrieval.generators)
            object.__setattr__(self, "retrieval", quick)
            object.__setattr__(self, "places", QUICK_PLACES)
            object.__setattr__(self, "updates", QUICK_UPDATES)
        for name in ("retrieval", "places", "updates"):
            object.__setattr__(self, name, replace(getattr(self, name), seed=self.seed))

    def limited(self, queries: int | None, library: int | None, images: int | None) -> StreetBenchSettings:
        """With other sizes where one is given.

        Raises:
            ConfigError: one is not positive.
        """
        if any(value is not None and value < 1 for value in (queries, library, images)):
            raise ConfigError(f"{queries} queries, {library} graphs, {images} images", "give at least one of each")
        now = self.retrieval
        other = replace(
            now, queries=queries or now.queries, library=library or now.library, images=images or now.images
        )
        changed = replace(self)
        object.__setattr__(changed, "retrieval", other)  # a quick run's sizes are set last, when it is made
        return changed

    def wants(self, table: str) -> bool:
        """Whether a table was asked for."""
        return not self.tables or table in self.tables


def run_street(
    data: StreetData,
    models: StreetModels,
    folder: Path,
    settings: StreetBenchSettings,
    *,
    ring: StreetData | None = None,
    more: Sequence[StreetMap] = (),
    command: str = "",
    stage: Stage = lambda name: lambda done, total: None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure everything that data and models allow, and write tables, plots, pictures and a page.

    Args:
        data: aerial crops, or a folder of anybody's images.
        models: see there.
        folder: gets everything; answers, embeddings and trained generators are kept in it and taken up by the next run.
        settings: see there.
        ring: the same places as a ring of cameras sees them, for the ring's table; None leaves that out.
        more: maps without images, for the table of sizes.
        command: that gives the same run, for the page.
        stage: called with a stage's name, gives a callback (done, total).

    Returns:
        Rows by table.

    Raises:
        ConfigError: no model is given, the split leaks, or what the folder keeps was measured otherwise.
    """
    if models.main is None and models.ring is None:
        raise ConfigError("there is no model to measure", "give --model, --ring-model or both")
    run = _Run(models, settings, folder, stage)
    main = run.retrieval(data, models.main, "main") if models.main and run.needs_main else None
    by_ring = run.retrieval(ring, models.ring, "ring") if ring and models.ring and settings.wants("ring") else None
    results = StreetResults(
        data=data,
        main=main if settings.wants("main") else None,
        ring=by_ring,
        modal=run.modal(data, main) if main and settings.wants("modal") else None,
        sizes=run.sizes(data, main, more) if main and settings.wants("size") else [],
        updates=run.updates(data, main) if models.update and settings.wants("update") else None,
        localization=run.localization(data) if models.main and settings.wants("localization") else None,
        notes=run.notes(ring, more),
        command=command,
        quick=settings.quick,
    )
    return write_street(results, folder)


class _Run:
    """One run: what all tables share."""

    def __init__(self, models: StreetModels, settings: StreetBenchSettings, folder: Path, stage: Stage) -> None:
        self.models, self.settings, self.stage = models, settings, stage
        self.folder = folder / "kept"

    @property
    def needs_main(self) -> bool:
        return any(self.settings.wants(table) for table in ("main", "modal", "size", "update"))

    def kept(self, name: str) -> Kept:
        return Kept(self.folder / name)

    def retrieval(self, data: StreetData, model: EmbeddingModel | None, name: str) -> Retrieval:
        assert model is not None
        rows = {"foldmap": model}
        if name == "main" and self.models.paper is not None:
            rows["paper model"] = self.models.paper
        wanted = self.settings.retrieval
        if not self.settings.wants(name):  # another table wants its answers, not its rivals
            wanted = replace(wanted, generators=())
        front = self.models.front if name == "ring" else None
        return measure_retrieval(data, rows, wanted, front=front, kept=self.kept(name), stage=self.stage)

    def modal(self, data: StreetData, main: Retrieval) -> Retrieval:
        """Graphs against images, of the same training windows."""
        assert self.models.main is not None
        few = self.settings.retrieval
        library = _training_library(data, few.images, few.seed)
        asked = methods.embed_pairs(self.models.main, main.queries)
        name = f"foldmap, the same {len(library)} windows"
        rows = self.models.main.embed_graphs(library.graphs)
        truths = self.models.main.embed_graphs(main.truths)
        identity = {
            "data": data.fingerprint(),
            "settings": [few.queries, few.images, few.seed],
            "model": seal_of(self.models.main.payload()),
        }
        same = self.kept("main").answers(
            "same-windows", identity, lambda: methods.retrieved(name, asked, rows, library, truths)
        )
        taken = [one for one in ("random", "oracle", "unimodal", "unimodal-own") if one in main.methods]
        compared: dict[str, Scored] = {one: main.methods[one] for one in taken}
        compared |= score([same], main.truths, data.window) | {"foldmap": main.methods["foldmap"]}
        return replace(main, methods=compared)

    def sizes(self, data: StreetData, main: Retrieval, more: Sequence[StreetMap]) -> list[Size]:
        assert self.models.main is not None
        fractions = FRACTIONS[-2:] if self.settings.quick else FRACTIONS
        return measure_sizes(
            data, self.models.main, main, more,
            fractions=fractions, kept=self.kept("main"), seed=self.settings.seed, stage=self.stage,
        )  # fmt: skip

    def updates(self, data: StreetData, main: Retrieval | None) -> Updates:
        assert self.models.update is not None
        plain = self.models.main if isinstance(self.models.main, FieldEmbedding) else None
        retrieval = None
        if main is not None and self.models.main is not None:
            retrieval = self.models.main, main.library, self.models.main.embed_graphs(main.library.graphs)
        return measure_updates(
            data, self.models.update, self.settings.updates,
            plain=plain, retrieval=retrieval, kept=self.kept("update"), stage=self.stage,
        )  # fmt: skip

    def localization(self, data: StreetData) -> Localization:
        model = self.models.main
        assert model is not None
        few = self.settings.retrieval
        training = thinned(data.train, few.images, few.seed + 1)
        self.stage(f"{data.label}: ImageNet features of training images")
        identity = {"data": data.fingerprint(), "images": [few.images, few.seed]}
        rows = self.kept("main").rows(
            "imagenet-training", identity, lambda: methods.imagenet_features(training, data.window)
        )
        unimodal = through_images(
            lambda pairs: methods.imagenet_features(pairs, data.window), rows, model.embed_graphs(graphs_of(training))
        )
        return measure_localization(
            data, model, self.settings.places, unimodal=unimodal, kept=self.kept("localization"), stage=self.stage
        )

    def notes(self, ring: StreetData | None, more: Sequence[StreetMap]) -> list[str]:
        """What was left out, and why."""
        left = []
        models = self.models
        if models.main is None:
            left.append("No model of aerial crops or whole frames was given: the main table and what follows from it.")
        if self.settings.wants("ring") and (ring is None or models.ring is None):
            left.append("Camera rings: no ring model was given, or the data has no ortho tiles to warp.")
        if self.settings.wants("update") and models.update is None:
            left.append("Update detection: no model that takes a map was given.")
        if models.paper is None:
            left.append("The paper's model: none was given.")
        if self.settings.wants("size") and not more:
            left.append("Graphs without images in the table of sizes: no further maps were given.")
        left.append(
            "The frontal 50 x 50 m protocol with one camera: it needs models of that window; those given cover "
            + (f"{_span(models.main or models.ring)}.")
        )
        return left


def _span(model: EmbeddingModel | None) -> str:
    window = model.window if model is not None else None
    return "nothing" if window is None else f"{window.back_m:g} to {window.ahead_m:g} m ahead"


def _training_library(data: StreetData, most: int, seed: int) -> Library:
    """The graphs of the training images that unimodal retrieval chooses among."""
    training = thinned(data.train, most, seed + 1)
    placed = places_of(training)
    poses = np.array([[pose.x_m, pose.y_m, pose.heading_rad] for _, pose in placed])
    return Library(tuple(graphs_of(training)), tuple(name for name, _ in placed), poses)
