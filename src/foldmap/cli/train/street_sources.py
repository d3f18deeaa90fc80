"""Where a street model's training pairs come from: labelled tiles, ortho images with maps, pairs, generated towns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.street.observations import open_ring
from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from foldmap.cli.train.street import Begin, StreetRun
    from foldmap.formats.street.observations.pairs import FolderPairs
    from foldmap.street.field.draw import FieldSpec
    from foldmap.street.field.examples import FieldExamples
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.graph.window import Window
    from foldmap.street.images.observation import CameraRing, Pair
    from foldmap.street.paper.encoders.shape import PaperShape
    from foldmap.street.paper.pairs import GroundTile, TilePairs
    from foldmap.street.paper.prepared import PreparedPairs

_TINY_TOWN_M = 256.0
_TINY_FRAMES = 200
_MOST_MEASURED = 100
_NEAR_M = 5.0


@dataclass(frozen=True)
class Brought:
    """What is learned from, and what is held out.

    Attributes:
        places: names of maps that are learned from.
        tiles: ortho images with maps.
        held_out: tiles that are not learned from.
        pairs: folders of pairs, instead of tiles.
        ring: how tiles are seen; from above where None.
        towns: whether the shipped model's towns are drawn.
    """

    places: list[str]
    tiles: list[GroundTile] = field(default_factory=list)
    held_out: list[GroundTile] = field(default_factory=list)
    pairs: list[FolderPairs] = field(default_factory=list)
    ring: CameraRing | None = None
    towns: bool = False


def bring(data: Sequence[Path], run: StreetRun) -> Brought:
    """Open what is learned from.

    Args:
        data: folders of labelled tiles, their .npz files, a GeoTIFF (with ``run.map``), or folders of pairs.
        run: the settings.

    Raises:
        ConfigError: nothing, or several things that do not go together; a held-out name that there is not.
        MapInputError: a file cannot be used.
    """
    if run.town == bool(data):
        raise ConfigError("say what is learned from", "give DATA, or --town for generated towns")
    ring = None
    if run.ring is not None:
        ring = open_ring(run.ring)
        ring = ring.take(*run.cameras) if run.cameras else ring
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
    tiles = [tile for path in data for tile in ground_tiles(path, run.map)]
    names = [tile.map.name for tile in tiles]
    _check_held_out(names, run.hold_out)
    learned = [tile for tile in tiles if tile.map.name not in run.hold_out]
    held_out = [tile for tile in tiles if tile.map.name in run.hold_out]
    return Brought([tile.map.name for tile in learned], learned, held_out, ring=ring)


def _check_held_out(names: Sequence[str], hold_out: Sequence[str]) -> None:
    unknown = [name for name in hold_out if name not in names]
    if unknown:
        raise ConfigError(f"there is no map {unknown[0]!r} to hold out", f"there are {', '.join(sorted(set(names)))}")
    if set(names) <= set(hold_out):
        raise ConfigError("every map is held out", "leave one to learn from")


def ground_tiles(path: Path, street_map: Path | None) -> list[GroundTile]:
    """Ortho images with their maps.

    Raises:
        MapInputError: there are none, or one cannot be used.
    """
    from foldmap.formats.street.observations.images import read_ground_tile

    if path.is_dir():
        files = sorted(path.glob("*_graph.npz"))
        if not files:
            raise MapInputError(f"{path} has neither tiles (*_graph.npz) nor pairs.csv", "give labelled images")
        return [read_ground_tile(file) for file in files]
    return [read_ground_tile(path, None if path.suffix.lower() == ".npz" else street_map)]


def _pairs(folders: Sequence[Path], run: StreetRun) -> Brought:
    from foldmap.formats.street.observations.pairs import read_pairs

    if run.hold_out and run.model == "field":
        known = [name for folder in folders for name, _ in read_pairs(folder).places()]
        _check_held_out(known, run.hold_out)
    pairs = [read_pairs(folder) for folder in folders]
    places = {name for one in pairs for name, _ in one.places()}
    return Brought(sorted(places - set(run.hold_out)), pairs=pairs)


def _towns(run: StreetRun, ring: CameraRing | None) -> Brought:
    if run.preset != "tiny" and run.model == "field" and ring is None:
        return Brought(["generated towns"], towns=True)
    from foldmap.town.street.ortho import town_tile
    from foldmap.town.street.training import TRAINED_SEEDS
    from foldmap.town.world import TownWorld

    half = _TINY_TOWN_M / 2
    seeds = TRAINED_SEEDS[:1] if run.preset == "tiny" else TRAINED_SEEDS
    side = _TINY_TOWN_M if run.preset == "tiny" else 2 * _TINY_TOWN_M
    corner = -half if run.preset == "tiny" else -2 * half
    tiles = [town_tile(TownWorld(seed), corner, corner, side, day_seed=seed) for seed in seeds]
    return Brought([tile.map.name for tile in tiles], tiles, ring=ring)


def field_examples(brought: Brought, spec: FieldSpec, run: StreetRun, begin: Begin) -> FieldExamples:
    """Examples for the field network."""
    from foldmap.street.changes.edits import RandomAging
    from foldmap.street.field.examples import AGED_SHARE, CachedExamples, aerial_examples, ring_examples

    if brought.towns:
        from foldmap.town.street.training import town_examples

        shown: dict[str, Callable[[int, int], None]] = {}

        def report(what: str, done: int, count: int) -> None:
            shown.setdefault(what, begin(f"Drawing {what}"))(done, count)

        return town_examples(spec, update=run.update, report=report)
    if brought.pairs:
        learned = [pair for pair in _every(brought.pairs) if pair.place not in run.hold_out]
        drawn = begin("Reading pairs")
        aging = RandomAging(AGED_SHARE, spec.window) if run.update else None
        return CachedExamples.of(learned, spec, 0.7, aging, lambda done: drawn(done, len(learned)))
    if brought.ring is not None:
        frames = {"frames": _TINY_FRAMES} if run.preset == "tiny" else {}
        return ring_examples(
            brought.tiles,
            brought.ring,
            spec,
            update=run.update,
            seed=run.seed,
            report=begin("Drawing frames"),
            **frames,
        )
    return aerial_examples(brought.tiles, spec, update=run.update, seed=run.seed)


def _every(folders: Sequence[FolderPairs]) -> list[Pair]:
    return [folder[k] for folder in folders for k in range(len(folder))]


def prepared_pairs(
    brought: Brought, shape: PaperShape, run: StreetRun, begin: Begin
) -> tuple[PreparedPairs, PreparedPairs | None]:
    """Pairs for the paper's networks: to learn from, and held out."""
    from foldmap.street.paper.prepared import PreparedPairs

    report = begin("Preparing pairs")
    source: Sequence[Any] = (
        _every(brought.pairs) if brought.pairs else _seen(brought, brought.tiles + brought.held_out, 5.0)
    )

    def counted() -> Any:
        for number in range(len(source)):
            yield source[number]
            report(number + 1, len(source))

    pairs = PreparedPairs.of(counted(), shape)
    return pairs.split(run.hold_out) if run.hold_out else (pairs, None)


def _seen(brought: Brought, tiles: Sequence[GroundTile], spacing_m: float, window: Window | None = None) -> TilePairs:
    from foldmap.street.graph.window import AROUND
    from foldmap.street.paper.pairs import AerialPairs, RingPairs

    if brought.ring is not None:
        return RingPairs(tiles, brought.ring, spacing_m, window or AROUND)
    return AerialPairs(tiles, spacing_m, window or AROUND)


def held_out_recall(
    model: FieldEmbedding, brought: Brought, run: StreetRun, report: Callable[[int, int], None]
) -> dict[str, Any]:
    """How often the most similar graph of a held-out map is of a place within 5 m, of at most 100 observations."""
    import numpy as np

    from foldmap.street.places import sample_places, windows

    queries = _seen(brought, brought.held_out, 20.0, model.window)
    chosen = np.unique(np.linspace(0, len(queries) - 1, min(len(queries), _MOST_MEASURED)).round().astype(int))
    libraries = {}
    for tile in brought.held_out:
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
