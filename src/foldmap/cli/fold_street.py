"""``foldmap fold`` of street maps: lane graphs in few bytes, places along them, and their embeddings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_file, require_folder, save_settings, say
from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.formats.street_build import MapReading
    from foldmap.street.fold import StreetPlan, StreetReport
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.source import StreetMap

FORMS = {"half": "float16", "int8": "int8", "int4": "int4", "1bit": "1bit", "pq": "pq", "none": "none"}
Report = Callable[[int, int], None]
_MOST_NOTES = 12


@dataclass(frozen=True)
class StreetOptions:
    """What a user may say about folding street maps; None: the default of `foldmap.street.fold.StreetPlan`.

    Attributes:
        model: a model file; the shipped one where None.
        error_m: of the stored lanes.
        spacing: metres between places along a lane.
        embeddings: a key of `FORMS`.
        embed_model: put a shipped model into the file, too.
        lanes: attributes of lanes to keep.
        tile_m: side of a tile.
        name: of the only region.
        format: of the maps, a key of `foldmap.formats.streets.KINDS`.
        seed: of codebooks.
    """

    model: Path | None = None
    error_m: float | None = None
    spacing: float | None = None
    embeddings: str | None = None
    lanes: str | None = None
    tile_m: float | None = None
    name: str | None = None
    format: str | None = None
    seed: int | None = None
    embed_model: bool = False

    def plan(self) -> StreetPlan:
        """How maps are stored.

        Raises:
            ConfigError: values that make no sense.
        """
        from foldmap.street.fold import StreetPlan

        if self.embeddings is not None and self.embeddings not in FORMS:
            raise ConfigError(f"embeddings cannot be stored as {self.embeddings!r}", f"give one of {', '.join(FORMS)}")
        if self.spacing == 0 and (self.model is not None or self.embed_model):
            raise ConfigError("a model embeds places, and none are wanted", "leave the model or --spacing 0 out")
        said: dict[str, Any] = {
            "error_m": self.error_m,
            "spacing_m": self.spacing,
            "lanes": self.lanes,
            "tile_m": self.tile_m,
        }
        said |= {
            "seed": self.seed,
            "vectors": None if self.embeddings is None else FORMS[self.embeddings],
        }
        return StreetPlan(**{key: value for key, value in said.items() if value is not None})


def fold_street_maps(
    sources: list[Path],
    output: Path,
    options: StreetOptions,
    *,
    budget_bytes: int | None = None,
    into: bool = False,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Fold street maps, a region each; the command without its printing.

    Args:
        sources: files and folders of any format that foldmap reads.
        output: the .fold file; its settings are written beside it.
        options: see there.
        budget_bytes: most bytes of the whole file on disk.
        into: ``output`` is there already: its street layer is added or replaced, the rest stays.
        report: called with maps done and in all.

    Returns:
        The summary that the command prints.

    Raises:
        BudgetError: the file would be larger; the output is left as it was.
        FoldmapError: what was brought cannot be used.
    """
    from foldmap import __version__
    from foldmap.atlas import FoldUpdater, FoldWriter
    from foldmap.street.fold import LAYER, fold_street

    started_s = time.perf_counter()
    plan = options.plan()
    require_folder(output)
    if into:
        require_file(output)
    maps = named(read_all(sources, options.format), options.name)
    model = model_of(options)
    said = {"foldmap": __version__, "maps": [source.resolve().name for source in sources]}
    writer = FoldUpdater(output) if into else FoldWriter(output)
    with writer:
        if isinstance(writer, FoldUpdater) and _has(output, LAYER):
            writer.remove_layer(LAYER)
        done = fold_street(maps, writer, plan, model, embed_model=options.embed_model, report=report)
        writer.put_metadata("street", said)
        writer.commit(budget_bytes)
    asked = {**asdict(options), "sources": sources, "budget_bytes": budget_bytes, "into": into}
    save_settings(output, "fold", {**asked, "plan": asdict(plan)})
    return {
        "file": str(output),
        "file_bytes": output.stat().st_size,
        **summary_of(done),
        "embeddings": "none" if model is None else plan.vectors,
        "model": None if model is None else model.name,
        "error_m": plan.error_m,
        "seconds": round(time.perf_counter() - started_s, 2),
    }


def summary_of(done: StreetReport) -> dict[str, Any]:
    """Counts, and bytes by part in all and a lane-km; those of the model are of no place, so not a km."""
    per_km = {use: round(size, 1) for use, size in done.bytes_per_km.items() if use != "model"}
    return {
        "regions": done.regions,
        "tiles": done.tiles,
        "places": done.places,
        "lane_km": round(done.lane_km, 3),
        "bytes": dict(done.bytes),
        "bytes_a_lane_km": {**per_km, "all": round(sum(per_km.values()), 1)},
    }


def model_of(options: StreetOptions) -> EmbeddingModel | None:
    """The model that embeds the places, or None where there are none."""
    from foldmap.cli.street_model import read_street_model, shipped_model

    if options.spacing == 0:
        return None
    return read_street_model(options.model) if options.model is not None else shipped_model()


def read_all(sources: list[Path], kind: str | None = None) -> list[StreetMap]:
    """Read maps, and say on stderr what was left out and what is odd.

    Raises:
        MapInputError: nothing there is a street map, or one cannot be read.
    """
    from foldmap.street.repair import findings

    maps: list[StreetMap] = []
    for source in sources:
        for one, left_out in read_counted(source, kind):
            maps.append(one)
            for note in notes_on(left_out):
                say(f"note: {one.name}: {note}")
            for finding in findings(one.graph):
                say(f"note: {one.name}: {finding.message}")
    taken: Counter[str] = Counter()
    for number, one in enumerate(maps):
        taken[one.name] += 1
        if taken[one.name] > 1:
            maps[number] = replace(one, name=f"{one.name}-{taken[one.name]}")
    return maps


def notes_on(left_out: Mapping[str, int]) -> list[str]:
    """What a reader left out, a line each, the most frequent first; of many only the first."""
    ordered = sorted(left_out.items(), key=lambda row: (-row[1], row[0]))
    lines = [f"left out {count} x {what}" for what, count in ordered[:_MOST_NOTES]]
    rest = ordered[_MOST_NOTES:]
    return [*lines, f"left out {sum(n for _, n in rest)} x of {len(rest)} other kinds"] if rest else lines


def read_counted(source: Path, kind: str | None = None) -> list[tuple[StreetMap, Mapping[str, int]]]:
    """The maps of a file or folder, each with what of it was left out.

    Raises:
        MapInputError: nothing there is a street map, or one cannot be read.
    """
    from foldmap.formats.streets import KINDS, kind_of

    if kind is not None and kind not in KINDS:
        raise ConfigError(f"there is no format of street maps {kind!r}", f"give one of {', '.join(KINDS)}")
    if source.is_dir():
        files = [file for file in sorted(source.iterdir()) if file.is_file() and not file.name.startswith(".")]
        told = [(file, found) for file in files if (found := kind_of(file)) is not None and kind in (None, found)]
        if not told:
            raise MapInputError(f"{source} holds no {kind or 'street'} map that foldmap reads", _formats())
        return [row for file, found in told for row in _read(file, found)]
    if not source.is_file():
        raise MapInputError(f"there is no file {source}", "check the path")
    found = kind or kind_of(source)
    if found is None:
        raise MapInputError(f"{source} is no street map that foldmap reads", _formats())
    return _read(source, found)


def _formats() -> str:
    from foldmap.formats.streets import KINDS

    return "read are " + "; ".join(KINDS.values())


def _read(path: Path, kind: str) -> list[tuple[StreetMap, Mapping[str, int]]]:
    from foldmap.formats.streets import read_street_maps

    if kind == "argoverse2":
        from foldmap.formats.street_argoverse2 import read_argoverse2_counted

        read = read_argoverse2_counted(path)
        return [(read.street_map, {"link to a lane beyond the map": read.dangling} if read.dangling else {})]
    counted: Callable[[Path], MapReading]
    if kind == "lanelet2":
        from foldmap.formats.street_lanelet2 import read_lanelet2_counted

        counted = read_lanelet2_counted
    elif kind == "sumo":
        from foldmap.formats.street_sumo import read_sumo_counted

        counted = read_sumo_counted
    elif kind == "opendrive":
        from foldmap.formats.street_opendrive import read_opendrive_counted

        counted = read_opendrive_counted
    else:
        return [(one, {}) for one in read_street_maps(path, kind)]
    found = counted(path)
    return [(found.street_map, found.left_out)]


def named(maps: list[StreetMap], name: str | None) -> list[StreetMap]:
    """Maps with the name that the user gave.

    Raises:
        ConfigError: one name for several maps.
    """
    if name is None:
        return maps
    if len(maps) != 1:
        raise ConfigError(f"one name for {len(maps)} street maps", "leave --name out, or fold one map")
    return [replace(maps[0], name=name)]


def _has(path: Path, layer: str) -> bool:
    from foldmap.atlas import FoldFile

    with FoldFile.open(path) as file:
        return layer in {there.name for there in file.layers()}
