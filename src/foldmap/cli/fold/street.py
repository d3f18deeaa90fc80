"""``foldmap fold`` of street maps: lane graphs in few bytes, places along them, and their embeddings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_file, require_folder, save_settings, say
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.formats.street.reading import MapReading
    from foldmap.street.fold import StreetPlan, StreetReport
    from foldmap.street.model import EmbeddingModel

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
        format: of the maps, a key of `foldmap.formats.street.maps.KINDS`.
        seed: of codebooks.
        strict: refuse maps in which anything is damaged.
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
    strict: bool = False
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
    readings = named(read_all(sources, options.format, strictly=options.strict), options.name)
    maps = [reading.street_map for reading in readings]
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
        **account_of(readings),
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
    from foldmap.street.defaults import default_model
    from foldmap.street.model import read_street_model

    if options.spacing == 0:
        return None
    return read_street_model(options.model) if options.model is not None else default_model()


def read_all(sources: list[Path], kind: str | None = None, *, strictly: bool = False) -> list[MapReading]:
    """Read maps, and say on stderr what was left out, what is damaged and what is odd.

    Args:
        sources: files and folders.
        kind: their format, where the content does not tell it.
        strictly: refuse maps in which anything is damaged.

    Raises:
        MapInputError: nothing there is a street map, or one cannot be read.
    """
    from foldmap.formats.street.maps import read_street_maps_counted
    from foldmap.formats.street.reading import strict
    from foldmap.street.graph.repair import findings

    readings: list[MapReading] = []
    taken: Counter[str] = Counter()
    for source in sources:
        for one in read_street_maps_counted(source, kind):
            for note in notes_on(one):
                say(f"note: {one.street_map.name}: {note}")
            if strictly:
                strict(one)
            for finding in findings(one.street_map.graph):
                say(f"note: {one.street_map.name}: {finding.message}")
            name = one.street_map.name
            taken[name] += 1
            known = one.street_map if taken[name] == 1 else replace(one.street_map, name=f"{name}-{taken[name]}")
            readings.append(replace(one, street_map=known))
    return readings


def notes_on(reading: MapReading) -> list[str]:
    """What is wrong in a file, and what its reader left out, a line each kind; of many only the most frequent."""
    from foldmap.formats.street.reading import faults_in_words

    ordered = sorted(reading.left_out.items(), key=lambda row: (-row[1], row[0]))
    lines = faults_in_words(reading.faults)
    for what, count in ordered[:_MOST_NOTES]:
        length_m = reading.left_out_m.get(what)
        lines.append(f"left out {count} x {what}" + ("" if length_m is None else f" ({length_m:,.0f} m)"))
    rest = ordered[_MOST_NOTES:]
    return [*lines, f"left out {sum(n for _, n in rest)} x of {len(rest)} other kinds"] if rest else lines


def account_of(readings: list[MapReading]) -> dict[str, Any]:
    """What of each map was left out and what is damaged, as the summary gives it."""
    left_out: dict[str, Any] = {}
    damaged: dict[str, Any] = {}
    for one in readings:
        name = one.street_map.name
        if one.left_out:
            metres = {what: round(length_m, 1) for what, length_m in one.left_out_m.items()}
            left_out[name] = {
                what: {"count": count} | ({"lane_m": metres[what]} if what in metres else {})
                for what, count in one.left_out.items()
            }
        if one.faults:
            damaged[name] = {
                "faults": len(one.faults),
                "lanes": sum(fault.lanes for fault in one.faults),
                "lane_m": round(sum(fault.length_m for fault in one.faults), 1),
                "first": one.faults[0].where,
            }
    return {"left_out": left_out, "damaged": damaged}


def named(readings: list[MapReading], name: str | None) -> list[MapReading]:
    """Maps with the name that the user gave.

    Raises:
        ConfigError: one name for several maps.
    """
    if name is None:
        return readings
    if len(readings) != 1:
        raise ConfigError(f"one name for {len(readings)} street maps", "leave --name out, or fold one map")
    return [replace(readings[0], street_map=replace(readings[0].street_map, name=name))]


def _has(path: Path, layer: str) -> bool:
    from foldmap.atlas import FoldFile

    with FoldFile.open(path) as file:
        return layer in {there.name for there in file.layers()}
