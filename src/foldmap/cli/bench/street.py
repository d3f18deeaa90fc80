"""``foldmap bench street``: graphs for images, updates and localization, on anybody's images and maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldmap.cli.common import make_folder
from foldmap.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from foldmap.bench.street.benchmark import StreetModels
    from foldmap.bench.street.data import StreetBenchData
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.paper.pairs import GroundTile
    from foldmap.street.source import StreetMap

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench street -o out/bench --quick\n"
    "  foldmap bench street --data tiles/ --hold-out tile_3,tile_9 --model street.safetensors -o out/bench\n"
    "  foldmap bench street --data tiles/ --ring calibration/ --ring-model ring.safetensors --tables ring -o out/ring\n"
    "  foldmap bench street --data drives/ --split city --model street.safetensors --maps more.osm -o out/mine\n"
    "  foldmap bench street --data tiles/ --model m.safetensors --update-model u.safetensors --tables update -o out/u"
)
_TOWN_SEEDS = (900, 901, 902, 903)
_QUICK_SEEDS = (900, 901, 902)
_TOWN_M, _QUICK_M = 400.0, 240.0

_model = partial(typer.Option, rich_help_panel="Models")
_split = partial(typer.Option, rich_help_panel="Data and split")
_most = partial(typer.Option, rich_help_panel="Sizes")


def street(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Ortho tiles with street maps, or a folder with pairs.csv; the generated town if left out."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model of `foldmap train street`; the shipped one if left out.")
    ] = None,
    tables: Annotated[
        str, typer.Option(help="main, ring, modal, size, update, localization, by commas; all where left out.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Few queries, a small library, tiny generators.")] = False,
    ring_model: Annotated[Path | None, _model(help="Model of camera rings, for the ring's table.")] = None,
    front_model: Annotated[Path | None, _model(help="Model of the front camera alone.")] = None,
    update_model: Annotated[Path | None, _model(help="Model that takes a map; the shipped one if left out.")] = None,
    paper_model: Annotated[Path | None, _model(help="The paper's model, for a row of its own.")] = None,
    generators: Annotated[
        str, _model(help="topo-tr, topo-prnn, pinet, by commas; all where left out, 'none' for none.")
    ] = "",
    ring: Annotated[
        Path | None,
        _split(help="Calibration that tiles are warped into: ring.json, or a folder with Argoverse 2's tables."),
    ] = None,
    maps: Annotated[
        list[Path] | None, _split(help="More street maps, without images, for the table of sizes; repeat.")
    ] = None,
    hold_out: Annotated[str, _split(help="Names of the maps that queries come from, by commas.")] = "",
    split: Annotated[str, _split(help="place, city, or leaky (labelled everywhere).")] = "place",
    queries: Annotated[int | None, _most(help="Queries at most.")] = None,
    library: Annotated[int | None, _most(help="Graphs of the library at most; all where left out.")] = None,
    images: Annotated[int | None, _most(help="Training images at most, of baselines.")] = None,
    seed: Annotated[int, _most(help="Of every random choice.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Measure retrieval, updates and localization against baselines; write JSON, CSV, plots and a page.

    Queries come from held-out maps only. What was computed is kept in the output and taken up by a later run; it is
    refused where data, models or settings differ.
    """
    from dataclasses import replace

    from foldmap.api.training.trained_places import map_places, refuse_trained_on
    from foldmap.bench.street.benchmark import StreetBenchSettings, run_street
    from foldmap.bench.street.retrieval import RetrievalSettings
    from foldmap.cli.bench import inputs
    from foldmap.formats.street.maps import read_street_maps
    from foldmap.street.defaults import NAMES, weights_folder

    wanted = RetrievalSettings()
    if generators:
        wanted = replace(wanted, generators=() if generators == "none" else inputs.listed(generators))
    settings = StreetBenchSettings(inputs.listed(tables), quick, seed, wanted).limited(queries, library, images)
    make_folder(output)
    with inputs.stages() as stage:
        stage("Reading")
        measured, by_ring = read_data(data, inputs.listed(hold_out), split, seed, ring, quick)
        more: list[StreetMap] = [street for path in maps or [] for street in read_street_maps(path)]
        models = read_models(model, ring_model, front_model, update_model, paper_model)
        if not measured.split.leaky:  # what is leaky by intent says so on its page
            given = [model, ring_model, front_model, update_model, paper_model]
            shipped = [weights_folder() / f"{name}.safetensors" for name in NAMES.values()]
            asked = map_places([measured.maps[name] for name in measured.split.test])
            for path in filter(None, [*given, *shipped]):
                refuse_trained_on(path, asked, weights_folder())
        rows = run_street(
            measured, models, output, settings,
            ring=by_ring, more=more, command=inputs.typed(context), stage=stage,
        )  # fmt: skip
    keys = ("table", "method", "question", "library", "way_pct", "chamfer_m", "f1", "within_5m_pct", "leaky")
    shown = [{"table": name, **row} for name, table in rows.items() for row in table]
    inputs.print_rows(rows, shown, keys, output / "report.html", as_json)


def read_data(
    path: Path | None, hold_out: tuple[str, ...], split: str, seed: int, ring: Path | None, quick: bool
) -> tuple[StreetBenchData, StreetBenchData | None]:
    """What is benchmarked: the data, and the same tiles as a ring sees them where the data are tiles."""
    from foldmap.api.observing_streets import open_ring
    from foldmap.bench.street.data import FolderData, TileData
    from foldmap.bench.street.split import split_maps
    from foldmap.formats.street.maps import read_street_maps
    from foldmap.formats.street.observations.pairs import read_pairs
    from foldmap.street.images.rig import surround_ring

    if path is not None and (path / "pairs.csv").is_file():
        pairs, maps = read_pairs(path), read_street_maps(path / "maps")
        return FolderData(pairs, maps, split_maps(maps, split, hold_out, seed)), None
    tiles = _town(quick) if path is None else read_tiles(path)
    chosen = split_maps([tile.map for tile in tiles], split, hold_out, seed)
    return TileData(tiles, chosen), TileData(tiles, chosen, surround_ring() if ring is None else open_ring(ring))


def read_tiles(folder: Path) -> list[GroundTile]:
    """Read the hand-labelled tiles of a folder; a `ConfigError` where there are none."""
    from foldmap.formats.street.observations.ortho import read_ground_tile

    files = sorted(folder.glob("tile_*_graph.npz"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise ConfigError(f"{folder} holds neither tiles (tile_*_graph.npz) nor pairs.csv", "give --data of one kind")
    return [read_ground_tile(file) for file in files]


def read_models(
    main: Path | None, ring: Path | None, front: Path | None, update: Path | None, paper: Path | None
) -> StreetModels:
    """Read the models that are given, and the shipped ones for others; a ModelError where one is misplaced."""
    from foldmap.bench.street.benchmark import StreetModels
    from foldmap.street.defaults import default_model
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.model import read_street_model

    def read(path: Path | None) -> EmbeddingModel | None:
        found = None if path is None else read_street_model(path)
        if isinstance(found, FieldEmbedding) and found.network.shape.with_map:
            raise ModelError(f"{path} takes a map", "give it as --update-model")
        return found

    changing = None if update is None else read_street_model(update)
    if changing is not None and not (isinstance(changing, FieldEmbedding) and changing.network.shape.with_map):
        raise ModelError(f"{update} takes no map to compare with", "train one with foldmap train street --update")
    by_ring, first = read(ring), read(main)
    if first is None and by_ring is None:
        first = by_ring = default_model()
    if changing is None:
        try:
            changing = default_model(update=True)
        except ModelError:
            changing = None  # the page says that the table is left out
    assert changing is None or isinstance(changing, FieldEmbedding)
    return StreetModels(first, by_ring, read(front), changing, read(paper))


def _town(quick: bool) -> list[GroundTile]:
    """Tiles of towns that no shipped model has seen."""
    from foldmap.town.street.ortho import town_tile
    from foldmap.town.world import TownWorld

    side = _QUICK_M if quick else _TOWN_M
    place = {"west_m": -side / 2, "south_m": -side / 2, "side_m": side}
    return [town_tile(TownWorld(s), day_seed=s, **place) for s in (_QUICK_SEEDS if quick else _TOWN_SEEDS)]
