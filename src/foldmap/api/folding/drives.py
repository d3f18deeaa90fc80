"""A map that was built just now into a file, with its sweeps at hand: they choose its code, and may adapt a network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.folding.kept_parts import forget_parts
from foldmap.api.folding.options import Begin, Beside, LidarOptions, Note
from foldmap.api.folding.rasters import AtHand, fold_rasters
from foldmap.api.training.adapting import Adapting, adapt
from foldmap.atlas import FoldWriter
from foldmap.atlas.whole import together
from foldmap.errors import ConfigError, ModelError
from foldmap.formats.sweeps.drives import RecordedDrive
from foldmap.geometry import SE3
from foldmap.lidar.defaults import default_bundle
from foldmap.lidar.pairs.from_sweeps import SweepPairs
from foldmap.lidar.pairs.sampling import SomePairs
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.choosing import trial_sizes_px

MOST_SWEEPS = 240
"""Sweeps in a row that are held in memory: those in the middle of a longer drive."""
_STEP_M = 0.25  # sweeps nearer to the last than this show the same ground from the same place
_GUARD, _AGGREGATE = 15, 5
_PLACES = 18
_HELD_OUT = 0.3  # share of the drive, its end, that adapting does not see


@dataclass(frozen=True)
class DriveFold:
    """How a drive's map is folded.

    Attributes:
        output: the .fold file.
        adapting: how long to adapt a network to the sensor; not at all where None.
        report: folder for the page of what was tried.
    """

    output: Path
    adapting: Adapting | None = None
    report: Path | None = None


@dataclass(frozen=True)
class _Chosen:
    """Some sweeps of a drive, and from which of it to which."""

    sweeps: list[Sweep] = field(default_factory=list)
    poses: list[SE3] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def fold_drive(
    map_tif: Path,
    resolution_m: float,
    max_range_m: float,
    drive: RecordedDrive,
    asked: DriveFold,
    note: Note = lambda message: None,
    begin: Begin = lambda doing: lambda done, total: None,
    beside: Beside = lambda layer: None,
) -> dict[str, Any]:
    """Fold the map that a drive was built into; gives the summary of ``foldmap fold``, whose errors these are.

    Codes are tried with sweeps that are held out of the map; where the drive is too short for that, with simulated
    ones. Where a network is adapted, they are of the drive's last three tenths, of which it sees nothing. `beside` is
    called with the summary once the file is whole: what it writes by `atlas.whole` appears with it, or neither does.
    """
    at_hand = _at_hand(drive, resolution_m, max_range_m, asked.adapting, note, begin)
    options = LidarOptions(curve=asked.report)
    with FoldWriter(asked.output) as writer:
        layer = fold_rasters(writer, [map_tif], options, (None, 0), note, begin("Folding"), at_hand)
        with together():
            writer.commit()
            size = writer.waiting.stat().st_size
            summary = {"file": str(asked.output), "file_bytes": size, **layer}
            beside(summary)
    forget_parts(asked.output)
    if asked.report is not None:
        from foldmap.api.folding.trials import write_trials

        write_trials(asked.report, asked.output, layer)
    return summary


def _at_hand(
    drive: RecordedDrive, resolution_m: float, max_range_m: float, adapting: Adapting | None, note: Note, begin: Begin
) -> AtHand | None:
    """Places to try codes at, and an adapted network; None where the drive is too short."""
    chosen = _some(drive, begin)
    map_px, sweep_px = trial_sizes_px(resolution_m)
    try:
        pairs = SweepPairs(
            chosen.sweeps,
            chosen.poses,
            resolution_m,
            aggregate_sweeps=_AGGREGATE,
            guard=_GUARD,
            map_px=map_px,
            sweep_px=sweep_px,
            max_range_m=max_range_m,
        )
    except ConfigError as error:
        note(f"codes are tried with simulated sweeps: {error.message}")
        if adapting is not None:
            note("no network was adapted: the drive is too short for that")
        return None
    said: dict[str, Any] = {"sweeps_tried_with": f"{chosen.numbers[0]} to {chosen.numbers[-1]} of {len(drive)}"}
    if adapting is None:
        return AtHand(_even(pairs, 0), said=said)
    try:
        begins = int((1 - _HELD_OUT) * len(chosen.sweeps))
        adapted = adapt(default_bundle(resolution_m), pairs.among_first(begins - _GUARD), resolution_m, adapting, begin)
    except (ConfigError, ModelError) as error:
        note(f"no network was adapted: {error.message} ({error.cure})")
        return AtHand(_even(pairs, 0), said=said)
    of_time = adapting.seconds is not None
    if of_time:
        note(f"adapting took {adapted.seconds:.0f} s; --adapt-steps {adapted.steps} makes the same network again")
    said["adapted"] = {
        "steps": adapted.steps,
        "seconds": round(adapted.seconds, 1) if of_time else None,
        "seed": adapting.seed,
        "first_sweeps": begins - _GUARD,
        **{key: value for key, value in adapted.bundle.provenance.items() if key == "adapted_from"},
    }
    return AtHand(_even(pairs, begins), [adapted.bundle], said)


def _even(pairs: SweepPairs, begins: int) -> SomePairs:
    """Places even over the drive, from a sweep on."""
    return SomePairs(pairs, np.unique(np.linspace(begins, len(pairs) - 1, _PLACES).round().astype(int)).tolist())


def _some(drive: RecordedDrive, begin: Begin) -> _Chosen:
    """Sweeps in the middle of the drive, those left out that were taken where the last one was."""
    numbers = list(_moving(drive))
    first = max(0, (len(numbers) - MOST_SWEEPS) // 2)
    numbers = numbers[first : first + MOST_SWEEPS]
    chosen, report = _Chosen(), begin("Reading sweeps to try codes with")
    for done, number in enumerate(numbers, start=1):
        sweep = drive.sweep(number)
        if sweep is not None:
            chosen.sweeps.append(sweep)
            chosen.poses.append(drive.world_SE3_sensors[number])
            chosen.numbers.append(number)
        report(done, len(numbers))
    return chosen


def _moving(drive: RecordedDrive) -> Iterator[int]:
    last_m = None
    for number, pose in enumerate(drive.world_SE3_sensors):
        if last_m is None or float(np.linalg.norm(pose.translation_m - last_m)) >= _STEP_M:
            last_m = pose.translation_m
            yield number
