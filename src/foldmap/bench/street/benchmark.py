"""The street benchmark on anybody's images and maps: every table, plot and picture on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from foldmap.bench.street import methods
from foldmap.bench.street.data import Library, StreetBenchData, graphs_of, places_of, thinned
from foldmap.bench.street.generators.common import PRESETS
from foldmap.bench.street.generators.generator import GENERATORS
from foldmap.bench.street.localization import Localization, LocalizationSettings, measure_localization, through_images
from foldmap.bench.street.page import TABLES, StreetResults, write_street
from foldmap.bench.street.predict import Kept, Stage, seal_of, unstaged
from foldmap.bench.street.retrieval import Retrieval, RetrievalSettings, Scored, measure_retrieval, score
from foldmap.bench.street.sizes import FRACTIONS, Size, measure_sizes
from foldmap.bench.street.updates import Updates, UpdateSettings, measure_updates
from foldmap.errors import ConfigError
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import StreetMap

QUICK = RetrievalSettings(queries=40, library=1200, images=120, generator=PRESETS["tiny"])
QUICK_PLACES = LocalizationSettings(singles=25, drives=3, frames=10)
QUICK_UPDATES = UpdateSettings(windows=24, drives=4, frames=4)


@dataclass(frozen=True)
class StreetModels:
    """What is measured; tables that need a model that is None are left out.

    `main` embeds aerial crops, `ring` camera rings, `front` the front camera alone (None: the ring's model, the other
    cameras missing); `update` has a network that takes a map; `paper` is the paper's model, for a row of its own.
    """

    main: EmbeddingModel | None = None
    ring: EmbeddingModel | None = None
    front: EmbeddingModel | None = None
    update: FieldEmbedding | None = None
    paper: EmbeddingModel | None = None


@dataclass(frozen=True)
class StreetBenchSettings:
    """What decides a street benchmark apart from data and models: names of `TABLES` (all where empty) and their sizes.

    A quick run has few queries, a small library and tiny generators, whatever sizes are given.
    """

    tables: tuple[str, ...] = ()
    quick: bool = False
    seed: int = 0
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    places: LocalizationSettings = LocalizationSettings()  # noqa: RUF009 - frozen
    updates: UpdateSettings = UpdateSettings()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        known = (("table", self.tables, TABLES), ("generator", self.retrieval.generators, GENERATORS))
        for what, names, there in known:
            for name in names:
                if name not in there:
                    raise ConfigError(f"there is no {what} {name!r}", f"choose among {', '.join(there)}")
        sizes: dict[str, Any] = {"retrieval": self.retrieval, "places": self.places, "updates": self.updates}
        if self.quick:
            quick = replace(QUICK, generators=self.retrieval.generators)
            sizes = {"retrieval": quick, "places": QUICK_PLACES, "updates": QUICK_UPDATES}
        for name, size in sizes.items():
            object.__setattr__(self, name, replace(size, seed=self.seed))

    def limited(self, queries: int | None, library: int | None, images: int | None) -> StreetBenchSettings:
        """With other sizes where one is given (ConfigError: one is not positive)."""
        given = {"queries": queries, "library": library, "images": images}
        if any(value is not None and value < 1 for value in given.values()):
            raise ConfigError(f"{queries} queries, {library} graphs, {images} images", "give at least one of each")
        other = replace(self.retrieval, **{name: value for name, value in given.items() if value})  # type: ignore[arg-type]
        changed = replace(self)
        object.__setattr__(changed, "retrieval", other)  # a quick run's sizes are set last, when it is made
        return changed

    def wants(self, table: str) -> bool:
        """Whether a table was asked for."""
        return not self.tables or table in self.tables


def run_street(
    data: StreetBenchData,
    models: StreetModels,
    folder: Path,
    settings: StreetBenchSettings,
    *,
    ring: StreetBenchData | None = None,
    more: Sequence[StreetMap] = (),
    command: str = "",
    stage: Stage = unstaged,
) -> dict[str, list[dict[str, Any]]]:
    """Measure everything that data and models allow, and write tables, plots, pictures and a page; rows by table.

    The folder gets everything; answers, embeddings and trained generators are kept in it and taken up by the next run.
    `data` are aerial crops or a folder of anybody's images, `ring` the same places as a ring of cameras sees them, for
    its table; `more` are maps without images, for the table of sizes; `command` gives the same run, for the page;
    `stage` is called with a stage's name and gives a callback (done, total).

    Raises:
        ConfigError: no model is given, the split leaks, or what the folder keeps was measured otherwise.
    """
    if models.main is None and models.ring is None:
        raise ConfigError("there is no model to measure", "give --model, --ring-model or both")
    run = _Run(models, settings, folder / "kept", stage)
    main, by_ring = None, None
    if models.main and any(settings.wants(table) for table in ("main", "modal", "size", "update")):
        rows = {"foldmap": models.main} | ({"paper model": models.paper} if models.paper else {})
        main = run.retrieval(data, rows, "main")
    if ring and models.ring and settings.wants("ring"):
        by_ring = run.retrieval(ring, {"foldmap": models.ring}, "ring", models.front)
    results = StreetResults(
        data=data,
        main=main if settings.wants("main") else None,
        ring=by_ring,
        modal=run.modal(data, models.main, main) if models.main and main and settings.wants("modal") else None,
        sizes=run.sizes(data, models.main, main, more) if models.main and main and settings.wants("size") else [],
        updates=run.updates(data, models.update, main) if models.update and settings.wants("update") else None,
        localization=run.localization(data, models.main) if models.main and settings.wants("localization") else None,
        notes=run.notes(ring, more),
        command=command,
        quick=settings.quick,
    )
    return write_street(results, folder)


class _Run:
    """One run: what all tables share."""

    def __init__(self, models: StreetModels, settings: StreetBenchSettings, folder: Path, stage: Stage) -> None:
        self.models, self.settings, self.folder, self.stage = models, settings, folder, stage

    def kept(self, name: str) -> Kept:
        return Kept(self.folder / name)

    def retrieval(
        self, data: StreetBenchData, rows: dict[str, EmbeddingModel], name: str, front: EmbeddingModel | None = None
    ) -> Retrieval:
        wanted = self.settings.retrieval
        if not self.settings.wants(name):  # another table wants its answers, not its rivals
            wanted = replace(wanted, generators=())
        return measure_retrieval(data, rows, wanted, front=front, kept=self.kept(name), stage=self.stage)

    def modal(self, data: StreetBenchData, model: EmbeddingModel, main: Retrieval) -> Retrieval:
        """Graphs against images, of the same training windows."""
        few = self.settings.retrieval
        training = thinned(data.train, few.images, few.seed + 1)
        library = Library.at(places_of(training), graphs_of(training))
        asked = methods.embed_pairs(model, main.queries)
        name = f"foldmap, the same {len(library)} windows"
        rows, truths = model.embed_graphs(library.graphs), model.embed_graphs(main.truths)
        decides = [few.queries, few.images, few.seed]
        identity = {"data": data.fingerprint(), "settings": decides, "model": seal_of(model.payload())}
        make = partial(methods.retrieved, name, asked, rows, library, truths)
        same = self.kept("main").answers("same-windows", identity, make)
        taken = [one for one in ("random", "oracle", "unimodal", "unimodal-own") if one in main.methods]
        compared: dict[str, Scored] = {one: main.methods[one] for one in taken}
        compared |= score([same], main.truths, data.window) | {"foldmap": main.methods["foldmap"]}
        return replace(main, methods=compared)

    def sizes(
        self, data: StreetBenchData, model: EmbeddingModel, main: Retrieval, more: Sequence[StreetMap]
    ) -> list[Size]:
        fractions = FRACTIONS[-2:] if self.settings.quick else FRACTIONS
        return measure_sizes(
            data, model, main, more,
            fractions=fractions, kept=self.kept("main"), seed=self.settings.seed, stage=self.stage,
        )  # fmt: skip

    def updates(self, data: StreetBenchData, update: FieldEmbedding, main: Retrieval | None) -> Updates:
        model, retrieval = self.models.main, None
        if main is not None and model is not None:
            retrieval = model, main.library, model.embed_graphs(main.library.graphs)
        return measure_updates(
            data, update, self.settings.updates,
            plain=model if isinstance(model, FieldEmbedding) else None,
            retrieval=retrieval, kept=self.kept("update"), stage=self.stage,
        )  # fmt: skip

    def localization(self, data: StreetBenchData, model: EmbeddingModel) -> Localization:
        few = self.settings.retrieval
        training = thinned(data.train, few.images, few.seed + 1)
        self.stage(f"{data.label}: ImageNet features of training images")
        identity = {"data": data.fingerprint(), "images": [few.images, few.seed]}
        describe = methods.imagenet_features
        rows = self.kept("main").rows("imagenet-training", identity, partial(describe, training))
        unimodal = through_images(describe, rows, model.embed_graphs(graphs_of(training)))
        return measure_localization(
            data, model, self.settings.places, unimodal=unimodal, kept=self.kept("localization"), stage=self.stage
        )

    def notes(self, ring: StreetBenchData | None, more: Sequence[StreetMap]) -> list[str]:
        """What was left out, and why."""
        models, wants = self.models, self.settings.wants
        window = (models.main or models.ring).window  # type: ignore[union-attr]
        no_ring = wants("ring") and (ring is None or models.ring is None)
        reasons = {
            "No model of aerial crops or whole frames: the main table and what follows from it.": models.main is None,
            "Camera rings: no ring model was given, or the data has no ortho tiles to warp.": no_ring,
            "Update detection: no model that takes a map was given.": wants("update") and models.update is None,
            "The paper's model: none was given.": models.paper is None,
            "Graphs without images in the table of sizes: no further maps were given.": wants("size") and not more,
            "The frontal 50 x 50 m protocol with one camera: it needs models of that window; those given cover "
            f"{window.back_m:g} to {window.ahead_m:g} m ahead.": True,
        }
        return [reason for reason, holds in reasons.items() if holds]
