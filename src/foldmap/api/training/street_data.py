"""Where a street model's training pairs come from: labelled tiles, ortho images with maps, pairs, generated towns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldmap.api.results import Begin
from foldmap.api.training.trained_places import map_places
from foldmap.bench.street.data import TileData
from foldmap.bench.street.split import Split
from foldmap.bench.street.updates import Driven, UpdateSettings, driven, least_change
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.ortho import read_ground_tile
from foldmap.formats.street.observations.pairs import FolderPairs, read_pairs
from foldmap.street.changes.edits import RandomAging
from foldmap.street.field import examples
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.observation import CameraRing, StreetPair
from foldmap.street.paper.encoders.shape import PaperShape
from foldmap.street.paper.pairs import AerialPairs, GroundTile, RingPairs, TilePairs
from foldmap.street.paper.prepared import PreparedPairs
from foldmap.street.places import sample_places, windows
from foldmap.street.source import StreetMap
from foldmap.town.street.ortho import town_tile
from foldmap.town.street.training import TRAINED_SEEDS, town_examples
from foldmap.town.world import TownWorld
from foldmap.training.places import Place, town_place

PRESETS = ("tiny", "small", "paper")
_TOWN_M, _TINY_TOWN_M = 512.0, 256.0
_TINY_FRAMES = 200
_MOST_MEASURED = 100
_UNCHANGED_DRIVES = 400  # of 40 m: from 15 km on not one false change says that they are few
_NEAR_M = 5.0


@dataclass(frozen=True)
class StreetRun:
    """What a person decides about a run.

    Attributes:
        town: learn from generated towns instead of data.
        map: street map of a GeoTIFF.
        preset: one of `PRESETS`: how large and how long.
        model: "field" (accurate) or "paper" (the paper's networks).
        ring: calibration of the cameras that see the tiles; from above where None.
        cameras: of the ring; all where empty.
        update: whether the model compares images with a map.
        start: model file to begin with.
        hold_out: names of maps that are not learned from.
        steps: of training; the preset's where None.
        batch: windows a step; the preset's where None.
        seed: of everything random.
        random_start: whether ImageNet weights are left out.
    """

    town: bool = False
    map: Path | None = None
    preset: str = "small"
    model: str = "field"
    ring: Path | None = None
    cameras: tuple[str, ...] = ()
    update: bool = False
    start: Path | None = None
    hold_out: tuple[str, ...] = ()
    steps: int | None = None
    batch: int | None = None
    seed: int = 0
    random_start: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"there is no street preset {self.preset!r}", f"choose one of {', '.join(PRESETS)}")
        if self.model not in ("field", "paper"):
            raise ConfigError(f"there is no kind of model {self.model!r}", "choose field or paper")
        if self.update and self.model == "paper":
            raise ConfigError("the paper's model compares with no map", "leave --update out, or choose --model field")
        if self.cameras and self.ring is None:
            raise ConfigError("cameras belong to a ring", "give --ring, or leave --camera out")


@dataclass(frozen=True)
class StreetData:
    """What is learned from, and what is held out.

    Attributes:
        places: names of maps that are learned from.
        tiles: ortho images with maps.
        held_out: tiles that are not learned from.
        pairs: folders of pairs, instead of tiles.
        ring: how tiles are seen; from above where None.
        towns: whether the shipped model's towns are drawn.
        maps: street maps of the pairs that are learned from.
    """

    places: list[str]
    tiles: list[GroundTile] = field(default_factory=list)
    held_out: list[GroundTile] = field(default_factory=list)
    pairs: list[FolderPairs] = field(default_factory=list)
    ring: CameraRing | None = None
    towns: bool = False
    maps: list[StreetMap] = field(default_factory=list)

    def trained_places(self) -> list[Place]:
        """Where a model of these data has been."""
        if self.towns:
            return [town_place(seed) for seed in TRAINED_SEEDS]
        return map_places([tile.map for tile in self.tiles] + self.maps)

    def every_pair(self) -> list[StreetPair]:
        """Of all folders."""
        return [folder[k] for folder in self.pairs for k in range(len(folder))]

    def seen(self, tiles: Sequence[GroundTile], spacing_m: float, window: Window = AROUND) -> TilePairs:
        """Pairs along the lanes of tiles, as the ring or an aerial camera sees them."""
        if self.ring is not None:
            return RingPairs(tiles, self.ring, spacing_m, window)
        return AerialPairs(tiles, spacing_m, window)


def open_street_data(data: Sequence[Path], run: StreetRun, ring: CameraRing | None = None) -> StreetData:
    """Open what is learned from: labelled tiles (folders, .npz), a GeoTIFF (with ``run.map``), or folders of pairs.

    The ring is the opened ``run.ring``.

    Raises:
        ConfigError: nothing, or several things that do not go together; a held-out name that there is not.
        MapInputError: a file cannot be used.
    """
    if run.town == bool(data):
        raise ConfigError("say what is learned from", "give DATA, or --town for generated towns")
    if ring is not None and run.cameras:
        ring = ring.take(*run.cameras)
    if run.town:
        return _towns(run, ring)
    missing = next((path for path in data if not path.exists()), None)
    if missing is not None:
        raise MapInputError(f"there is no file or folder {missing}", "check the path")
    folders = [path for path in data if path.is_dir() and (path / "pairs.csv").is_file()]
    if folders:
        if len(folders) < len(data) or ring is not None:
            raise ConfigError("pairs bring images of their own", "leave other data and --ring out")
        return _pairs(folders, run)
    tiles = [tile for path in data for tile in _ground_tiles(path, run.map)]
    names = [tile.map.name for tile in tiles]
    _check_held_out(names, run.hold_out)
    learned = [tile for tile in tiles if tile.map.name not in run.hold_out]
    held_out = [tile for tile in tiles if tile.map.name in run.hold_out]
    return StreetData([tile.map.name for tile in learned], learned, held_out, ring=ring)


def _check_held_out(names: Sequence[str], hold_out: Sequence[str]) -> None:
    unknown = [name for name in hold_out if name not in names]
    if unknown:
        raise ConfigError(f"there is no map {unknown[0]!r} to hold out", f"there are {', '.join(sorted(set(names)))}")
    if set(names) <= set(hold_out):
        raise ConfigError("every map is held out", "leave one to learn from")


def _ground_tiles(path: Path, street_map: Path | None) -> list[GroundTile]:
    if not path.is_dir():
        return [read_ground_tile(path, None if path.suffix.lower() == ".npz" else street_map)]
    files = sorted(path.glob("*_graph.npz"))
    if not files:
        raise MapInputError(f"{path} has neither tiles (*_graph.npz) nor pairs.csv", "give labelled images")
    return [read_ground_tile(file) for file in files]


def _pairs(folders: Sequence[Path], run: StreetRun) -> StreetData:
    pairs = [read_pairs(folder) for folder in folders]
    names = [name for one in pairs for name, _ in one.places()]
    if run.hold_out and run.model == "field":
        _check_held_out(names, run.hold_out)
    learned = sorted(set(names) - set(run.hold_out))
    maps = [one for folder in folders for one in read_street_maps(folder / "maps") if one.name in learned]
    return StreetData(learned, pairs=pairs, maps=maps)


def _towns(run: StreetRun, ring: CameraRing | None) -> StreetData:
    tiny = run.preset == "tiny"
    if not tiny and run.model == "field" and ring is None:
        return StreetData(["generated towns"], towns=True)
    side_m = _TINY_TOWN_M if tiny else _TOWN_M
    seeds = TRAINED_SEEDS[:1] if tiny else TRAINED_SEEDS
    tiles = [town_tile(TownWorld(seed), -side_m / 2, -side_m / 2, side_m, day_seed=seed) for seed in seeds]
    return StreetData([tile.map.name for tile in tiles], tiles, ring=ring)


def field_examples(data: StreetData, spec: FieldSpec, run: StreetRun, begin: Begin) -> examples.FieldExamples:
    """Examples for the field network."""
    if data.towns:
        shown: dict[str, Callable[[int, int], None]] = {}

        def report(what: str, done: int, count: int) -> None:
            shown.setdefault(what, begin(f"Drawing {what}"))(done, count)

        return town_examples(spec, update=run.update, report=report)
    if data.pairs:
        learned = [pair for pair in data.every_pair() if pair.place not in run.hold_out]
        drawn = begin("Reading pairs")
        aging = RandomAging(examples.AGED_SHARE, spec.window) if run.update else None
        return examples.CachedExamples.of(learned, spec, 0.7, aging, lambda done: drawn(done, len(learned)))
    if data.ring is None:
        return examples.aerial_examples(data.tiles, spec, update=run.update, seed=run.seed)
    frames = _TINY_FRAMES if run.preset == "tiny" else examples.FRAMES
    drawing = begin("Drawing frames")
    return examples.ring_examples(
        data.tiles, data.ring, spec, update=run.update, frames=frames, seed=run.seed, report=drawing
    )


def prepared_pairs(
    data: StreetData, shape: PaperShape, run: StreetRun, begin: Begin
) -> tuple[PreparedPairs, PreparedPairs | None]:
    """Pairs for the paper's networks: to learn from, and held out."""
    report = begin("Preparing pairs")
    source: Sequence[StreetPair] = data.every_pair() if data.pairs else data.seen(data.tiles + data.held_out, 5.0)

    def counted() -> Iterator[StreetPair]:
        for number in range(len(source)):
            yield source[number]
            report(number + 1, len(source))

    pairs = PreparedPairs.of(counted(), shape)
    return pairs.split(run.hold_out) if run.hold_out else (pairs, None)


def held_out_least_change(
    model: FieldEmbedding, data: StreetData, report: Callable[[int, int], None]
) -> tuple[float | None, float]:
    """Confidence from which a change counts, from drives past held-out maps that nobody edited; their kilometres."""
    names = tuple(tile.map.name for tile in data.held_out)
    seen = TileData(data.held_out, Split("place", names, names), data.ring, window=model.window)
    wanted = UpdateSettings(drives=-(-_UNCHANGED_DRIVES // len(names)))
    drives = list[Driven]()
    for done, name in enumerate(names):
        drives += driven(seen, name, (model,), wanted, edits=False)[0]
        report(done + 1, len(names))
    return least_change(drives), sum(drive.km for drive in drives)


def held_out_recall(
    model: FieldEmbedding, data: StreetData, report: Callable[[int, int], None]
) -> dict[str, int | float]:
    """How often the most similar graph of a held-out map is of a place within 5 m, of at most 100 observations."""
    queries = data.seen(data.held_out, 20.0, model.window)
    chosen = np.unique(np.linspace(0, len(queries) - 1, min(len(queries), _MOST_MEASURED)).round().astype(int))
    libraries = {}
    for tile in data.held_out:
        places = sample_places(tile.map.graph, 5.0)
        libraries[tile.map.name] = places, model.embed_graphs(list(windows(tile.map.graph, places, model.window)))
    near = 0
    for done, number in enumerate(chosen.tolist(), start=1):
        pair = queries[number]
        places, rows = libraries[pair.place]
        best = int((rows @ model.embed_observations([pair.observation])[0]).argmax())
        at = pair.world_SE2_ego
        near += bool(np.hypot(places.x_m[best] - at.x_m, places.y_m[best] - at.y_m) <= _NEAR_M)
        report(done, len(chosen))
    return {"held_out_queries": len(chosen), "held_out_recall_at_5m": round(near / len(chosen), 4)}
