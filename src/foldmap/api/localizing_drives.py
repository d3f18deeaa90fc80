"""Localize a drive, with all that it brings, in all layers of an open map."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foldmap.api.georeference import crs_of
from foldmap.api.results import Begin, Localized, LocalizedObservation, silent
from foldmap.api.sweep_inputs import require_fixes_near
from foldmap.atlas import FoldFile
from foldmap.errors import ConfigError, LayerError, MissingExtraError
from foldmap.formats.bags.files import is_bag
from foldmap.formats.drives.read import Drive, read_drive
from foldmap.lidar.mapping import spin
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.events import CameraEvent, Event, FixEvent, SweepEvent, moved_by_sweeps
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.laid import LaidSweeps
from foldmap.localize.journey.senses import Layers
from foldmap.localize.lidar.outline import WholeOutline

if TYPE_CHECKING:
    from foldmap.api.opened import FoldedMap
    from foldmap.formats.bags.drive import BagDrive
    from foldmap.formats.bags.survey import BagOptions

_APART_M = 1000.0
"""Layers of one place are no farther from each other."""
_LOOKED_AT = 20  # fixes of a drive, until it is told that they are of another place
_OF_EVENT = {SweepEvent: "sweep", CameraEvent: "frame"}


@dataclass(frozen=True)
class LocalizedDrive(Localized):
    """What was answered along a drive; an estimate at each observation.

    Attributes:
        crs: of the map, as WKT; empty in a local frame.
        base_frame: what the drive calls the vehicle's frame.
    """

    crs: str = ""
    base_frame: str = "base_link"

    def summary(self) -> dict[str, Any]:
        """As other summaries, with the time to the first `ok`, the share of each status, and sigma."""
        every = self.observations
        first = next((one.time_s for one in every if one.estimate.status is Status.OK), None)
        counted = Counter(one.estimate.status.value for one in every)
        sigmas = [one.estimate.diagnostics.sigma_m for one in every if one.answered]
        said = {
            "first_ok_s": None if first is None else round(first - every[0].time_s, 3),
            "share_by_status": {name: round(count / len(every), 4) for name, count in counted.items()},
            "median_sigma_m": round(float(np.median(sigmas)), 4) if sigmas else None,
        }
        return {**super().summary(), **said}


def localize_drive(
    town: FoldedMap,
    folder: Path,
    *,
    region: str | None = None,
    bag: BagOptions | None = None,
    settings: JourneySettings | None = None,
    deskew: bool = True,
    begin: Begin = silent,
) -> LocalizedDrive:
    """Localize a drive from nothing, by whatever layers the map has and whatever the drive brings.

    The drive is a folder with ``drive.json``, or a bag (`foldmap.formats.bags`), of which ``bag`` says more. Fixes in
    degrees are brought into the map's frame. A LayerError where nothing that the drive brings has a layer.
    """
    drive = open_drive(town, folder, bag)
    layers, notes = journey_layers(town, drive, region)
    crs = crs_of(layer.parameters for layer in town.file.layers())
    settings = replace(settings or JourneySettings(), deskew=deskew)
    report, journey, found = begin("Driving"), Journey(layers, None, settings), list[LocalizedObservation]()
    counts: Counter[str] = Counter()
    laid, events = LaidSweeps(), drive.events(crs)
    if layers.lidar is not None and not {"odometry", "twist"} & set(drive.brings):
        events = moved_by_sweeps(events)
        notes.append("the drive brings no odometry: its sweeps, registered to each other, say how it moves")
    for event, estimate in journey.run(laid.watch(_of_here(events, folder, layers))):
        kind = _OF_EVENT.get(type(event), "fix")
        found.append(LocalizedObservation(f"{kind} {counts[kind]}", drive.stamp(event.time_s), estimate))
        counts[kind] += 1
        report(len(found), drive.observations)
    held = [name for name in ("lidar", "visual", "street") if getattr(layers, name) is not None]
    notes += spin.told(journey.spin.spin)
    said = {"layers": held, "brings": list(drive.brings)}
    if layers.lidar is not None and all(one.estimate.status is not Status.OK for one in found):
        notes += filter(None, [laid.contradiction()])
    left_out = [*notes, *(f"left out: {one}" for one in drive.damaged)]
    if isinstance(drive, Drive):
        return LocalizedDrive(found, said, said, left_out, crs)
    told = said | drive.told
    return LocalizedDrive(found, told, told, [*drive.notes, *left_out], crs, drive.plan.base)


def _of_here(events: Iterable[Event], folder: Path, layers: Layers) -> Iterator[Event]:
    """The events themselves; a PoseInputError where the first fixes are all of another frame than the map's lidar."""
    fixes_m = list[tuple[float, float]]()
    for event in events:
        yield event
        if isinstance(event, FixEvent) and len(fixes_m) < _LOOKED_AT and layers.lidar is not None:
            fixes_m.append((event.east_m, event.north_m))
            if len(fixes_m) == _LOOKED_AT:
                require_fixes_near(folder, np.array(fixes_m), layers.lidar.folded.grid)
    if 0 < len(fixes_m) < _LOOKED_AT and layers.lidar is not None:
        require_fixes_near(folder, np.array(fixes_m), layers.lidar.folded.grid)


def open_drive(town: FoldedMap, path: Path, options: BagOptions | None = None) -> Drive | BagDrive:
    """A drive's folder or a bag; of a bag, topics that no layer of the map takes are passed over."""
    if not is_bag(path):
        if options is not None:
            raise ConfigError("--topic, --base-frame, --ground-z and --clock are of bags", "leave them out")
        return read_drive(path)
    from foldmap.formats.bags.drive import open_bag_drive

    kinds = {layer.kind for layer in town.file.layers()}
    wanted = {"fix", "odometry", "twist", "imu"} | ({"lidar"} if "lidar" in kinds else set())
    return open_bag_drive(path, options, wanted | ({"camera"} if kinds & {"visual", "street"} else set()))


def journey_layers(town: FoldedMap, drive: Drive | BagDrive, region: str | None = None) -> tuple[Layers, list[str]]:
    """The localizers that a drive can use, and notes on what is not used; a LayerError where there is none."""
    kinds = {layer.kind for layer in town.file.layers()}
    notes: list[str] = []
    lidar = town.lidar_localizer() if "sweeps" in drive.brings and "lidar" in kinds else None
    street = visual = extract = None
    if "images" in drive.brings and "street" in kinds:
        street = town.street_localizer(region)
    if "images" in drive.brings and "visual" in kinds:
        if not town.visual.parameters.get("metric"):
            notes.append("the visual layer has no scale and is not used: fold a metric scene")
        else:
            try:
                extract, visual = town.extractor(), town.visual_localizer()
            except MissingExtraError as error:
                notes.append(f"the visual layer is not used: {error.message} ({error.cure})")
    if lidar is None and visual is None and street is None:
        there = ", ".join(sorted(kinds)) or "none"
        raise LayerError(f"the drive brings {', '.join(drive.brings)}, and no layer takes it", f"layers there: {there}")
    used = {"lidar": lidar, "visual": visual, "street": street}
    notes += _frames(town.file, [kind for kind, localizer in used.items() if localizer is not None])
    outline = None if lidar is None or town.outline is None else WholeOutline(town.outline)
    return Layers(lidar, visual, street, None if extract is None else extract.extract, outline), notes


def _frames(file: FoldFile, kinds: Sequence[str]) -> list[str]:
    """A note where nobody knows whether layers of a file are in one frame; a LayerError where they are not."""
    from foldmap.api.reshaping.kinds import kind_of
    from foldmap.api.reshaping.parts import Source
    from foldmap.api.reshaping.visual import boxes
    from foldmap.formats.crs import same_crs

    sources = [Source(file, layer.name) for layer in file.layers() if layer.kind in kinds]
    named = [(source.layer, found) for source in sources if (found := kind_of(source).frames(source))]
    cure = "fold them in one frame: streets with --into, scenes with --positions or --align"
    for layer, frames in named[1:]:
        before, theirs = named[0]
        pairs = [(one, other) for one in frames for other in theirs]
        if not any(not one or not other or same_crs(one, other) for one, other in pairs):
            said = f"{min(theirs)[:60]} and {min(frames)[:60]}"
            raise LayerError(f"layers {before} and {layer} are in two frames, {said}", cure)
    # of photos tiles have to be decoded to know where they are: those come last, and no more of them than it takes
    of_photos = {layer.name for layer in file.layers() if layer.kind == "visual"}
    first, *others = sorted(sources, key=lambda source: source.layer in of_photos)
    around = kind_of(first).bounds(first) if others else np.zeros(4)
    for source in others:
        apart_m = math.inf
        for box in boxes(source) if source.layer in of_photos else [kind_of(source).bounds(source)]:
            gap = np.maximum(np.maximum(around[:2] - box[2:], box[:2] - around[2:]), 0.0)
            apart_m = min(apart_m, float(np.hypot(*gap)))
            if apart_m <= _APART_M:
                break
        if _APART_M < apart_m < math.inf:
            said = f"layers {first.layer} and {source.layer} lie {apart_m / 1000:,.1f} km apart"
            raise LayerError(said, cure)
    if len({any(frames) for _, frames in named}) > 1:
        return ["one layer names a crs, another none: they are taken to be in one frame"]
    return []
