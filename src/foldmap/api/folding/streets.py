"""Street maps into the street layer of an open file: read in any format, with an account of what is not in them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.folding.aligning import align_streets
from foldmap.api.folding.options import EMBEDDINGS, Note, Report, StreetOptions
from foldmap.atlas import FoldUpdater, FoldWriter
from foldmap.errors import ConfigError
from foldmap.formats.crs import moved_points, require_metric, require_true, same_crs, to_lonlat
from foldmap.formats.street.maps import read_street_maps_counted
from foldmap.formats.street.reading import MapReading, faults_in_words, strict
from foldmap.geometry import MetricGrid
from foldmap.street.defaults import default_model
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.repair import findings
from foldmap.street.model import read_street_model
from foldmap.street.source import StreetMap
from foldmap.street.update import update_street
from foldmap.version import __version__

_MOST_NOTES = 12
_APART_M = 20_000.0
_ELSEWHERE = "check that both are of one place, and that GeoJSON has longitude before latitude; or fold them apart"


def fold_streets(
    writer: FoldWriter,
    sources: Sequence[Path],
    options: StreetOptions,
    note: Note,
    report: Report,
    beside: MetricGrid | None = None,
) -> dict[str, Any]:
    """Fold street maps, files and folders, a region each; the caller commits. Returns the summary's words of the layer.

    ``note`` hears what was left out, what is damaged and what is odd, ``report`` maps done and in all. ``beside``
    is the raster of the file, into whose crs maps are brought that lie on Earth in another one.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    plan = _plan_of(options)
    readings, aligned = _read_maps(sources, options, note)
    if options.align is None and beside is not None:
        readings = [_in_frame(reading, beside.crs_wkt, note) for reading in readings]
        for reading in readings:
            _note_distance(reading.street_map, beside, note)
    done = fold_street(writer, [reading.street_map for reading in readings], plan, report=report)
    writer.put_metadata("street", {"foldmap": __version__, "maps": [source.resolve().name for source in sources]})
    return {
        "regions": done.regions,
        "tiles": done.tiles,
        "places": done.places,
        "lane_km": round(done.lane_km, 3),
        **_places_of(readings),
        "bytes": dict(done.bytes),
        "bytes_a_lane_km": done.bytes_per_km,
        "embeddings": "none" if plan.model is None else plan.vectors,
        "model": None if plan.model is None else plan.model.name,
        "error_m": plan.error_m,
        **_account_of(readings),
        **aligned,
    }


def update_streets(
    updater: FoldUpdater, sources: Sequence[Path], options: StreetOptions, note: Note, report: Report
) -> dict[str, Any]:
    """Replace regions by maps of their names, the tiles that changed alone; arguments as `fold_streets`."""
    model = None if options.model is None else read_street_model(options.model)
    readings, aligned = _read_maps(sources, options, note)
    regions = updater.parameters("street").get("regions", []) if "street" in updater.layers else []
    theirs = {region["name"]: region.get("crs") or "" for region in regions}
    if options.align is None:
        readings = [_in_frame(reading, theirs.get(reading.street_map.name, ""), note) for reading in readings]
    counts: Counter[str] = Counter()
    for number, reading in enumerate(readings, start=1):
        done = update_street(updater, reading.street_map, model=model)
        counts["tiles_changed"] += len(done.changed)
        counts["tiles_removed"] += len(done.removed)
        counts["tiles_kept"] += done.kept
        counts["places_embedded"] += done.places
        report(number, len(readings))
    return {"regions": [reading.street_map.name for reading in readings], **counts, **_account_of(readings), **aligned}


def _places_of(readings: Sequence[MapReading]) -> dict[str, str]:
    """Where on Earth the maps lie, in words: whoever swapped latitude and longitude sees another country."""
    maps = [one.street_map for one in readings if one.street_map.crs and len(one.street_map.graph.vertices_m)]
    middles = {one.name: to_lonlat(np.median(one.graph.vertices_m, axis=0)[None], one.crs, one.name)[0] for one in maps}
    words = {f"{abs(y):.2f} {'S' if y < 0 else 'N'}, {abs(x):.2f} {'W' if x < 0 else 'E'}" for x, y in middles.values()}
    return {"at": "; ".join(sorted(words))} if 0 < len(words) <= _MOST_NOTES else {}


def _in_frame(reading: MapReading, crs: str, note: Note) -> MapReading:
    """A map in the frame of the file, where both lie on Earth; that the map does not say so is noted."""
    street_map = reading.street_map
    if not crs or not street_map.crs:
        if crs:
            note(f"note: {street_map.name} names no crs, and is taken to be in that of the file")
        return reading
    if same_crs(street_map.crs, crs):
        return reading
    text = require_metric(crs, "the file")
    note(f"note: {street_map.name} was brought from {street_map.crs} into the frame of the file, {text}")
    moved = moved_points(street_map.graph.vertices_m, street_map.crs, crs, street_map.name)
    if len(moved):
        require_true(crs, moved, f"{street_map.name}, in the frame of the file", _ELSEWHERE)
    graph = replace(street_map.graph, vertices_m=moved)
    return replace(reading, street_map=replace(street_map, graph=graph, crs=text))


def _note_distance(street_map: StreetMap, beside: MetricGrid, note: Note) -> None:
    """Note a map that lies nowhere near the raster, in their one frame."""
    if not len(street_map.graph):
        return
    near, far = beside.world_of(np.array([[beside.height_px, 0], [0, beside.width_px]]))
    low, high = street_map.graph.vertices_m.min(0), street_map.graph.vertices_m.max(0)
    apart_m = float(np.hypot(*np.maximum(0.0, np.maximum(near - high, low - far))))
    if apart_m > _APART_M:
        note(f"note: {street_map.name} lies {apart_m / 1000:,.0f} km from the raster: {_ELSEWHERE}")


def _plan_of(options: StreetOptions) -> StreetPlan:
    """How maps are stored; refuses values that make no sense."""
    if options.embeddings is not None and options.embeddings not in EMBEDDINGS:
        cure = f"give one of {', '.join(EMBEDDINGS)}"
        raise ConfigError(f"embeddings cannot be stored as {options.embeddings!r}", cure)
    if options.spacing == 0 and (options.model is not None or options.embed_model):
        raise ConfigError("a model embeds places, and none are wanted", "leave the model or --spacing 0 out")
    said: dict[str, Any] = {name: getattr(options, name) for name in ("error_m", "lanes", "tile_m", "seed")}
    said |= {"spacing_m": options.spacing, "vectors": EMBEDDINGS.get(options.embeddings or "")}
    plan = StreetPlan(**{key: value for key, value in said.items() if value is not None})
    if options.spacing == 0:
        return plan
    model = default_model() if options.model is None else read_street_model(options.model)
    return replace(plan, model=model, embed_model=options.embed_model)


def _read_maps(
    sources: Sequence[Path], options: StreetOptions, note: Note
) -> tuple[list[MapReading], dict[str, dict[str, Any]]]:
    """Read maps, and note what is left out, damaged and odd; names are the user's, or made unique by a number.

    The second is how each was brought into the map's frame, where it was.
    """
    readings: list[MapReading] = []
    aligned: dict[str, Any] = {}
    taken: Counter[str] = Counter()
    for source in sources:
        for reading in read_street_maps_counted(source, options.format):
            name = reading.street_map.name
            for line in _notes_on(reading):
                note(f"note: {name}: {line}")
            if options.strict:
                strict(reading)
            for finding in findings(reading.street_map.graph):
                note(f"note: {name}: {finding.message}")
            taken[name] += 1
            if options.align is not None:
                moved, aligned[name] = align_streets(reading.street_map, options.align)
                reading = replace(reading, street_map=moved)
            unique = options.name or (name if taken[name] == 1 else f"{name}-{taken[name]}")
            readings.append(replace(reading, street_map=replace(reading.street_map, name=unique)))
    if options.name is not None and len(readings) != 1:
        raise ConfigError(f"one name for {len(readings)} street maps", "leave --name out, or fold one map")
    return readings, {} if options.align is None else {"aligned": aligned}


def _notes_on(reading: MapReading) -> list[str]:
    """What is wrong in a file, and what its reader left out, a line each kind; of many only the most frequent."""
    ordered = sorted(reading.left_out.items(), key=lambda row: (-row[1], row[0]))
    lines = faults_in_words(reading.faults)
    for what, count in ordered[:_MOST_NOTES]:
        length_m = reading.left_out_m.get(what)
        lines.append(f"left out {count} x {what}" + ("" if length_m is None else f" ({length_m:,.0f} m)"))
    rest = ordered[_MOST_NOTES:]
    return [*lines, f"left out {sum(n for _, n in rest)} x of {len(rest)} other kinds"] if rest else lines


def _account_of(readings: list[MapReading]) -> dict[str, Any]:
    """What of each map was left out and what is damaged, as the summary gives it."""
    left_out: dict[str, Any] = {}
    damaged: dict[str, Any] = {}
    for reading in readings:
        name, metres = reading.street_map.name, reading.left_out_m
        if reading.left_out:
            left_out[name] = {
                what: {"count": count} | ({"lane_m": round(metres[what], 1)} if what in metres else {})
                for what, count in reading.left_out.items()
            }
        if reading.faults:
            damaged[name] = {
                "faults": len(reading.faults),
                "lanes": sum(fault.lanes for fault in reading.faults),
                "lane_m": round(sum(fault.length_m for fault in reading.faults), 1),
                "first": reading.faults[0].where,
            }
    return {"left_out": left_out, "damaged": damaged}
