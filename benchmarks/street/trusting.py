"""Drives that are not in the map, and those that are: what both reach, and how far right answers err.

In aerial tiles that the shipped model has not seen, or in generated towns::

    python -m benchmarks.street.trusting FOLDER/tile_1_graph.npz FOLDER/tile_13_graph.npz
    python -m benchmarks.street.trusting --town --seeds 30,31,32

A drive is also asked about in the next tile's map: give tiles that lie apart. `foldmap.localize.street.chance` is set
on what this tells.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldmap.bench.street.drives import lane_walk, odometry, off_lane
from foldmap.formats.street.observations.ortho import read_ground_tile
from foldmap.geometry import SE2
from foldmap.localize.evidence import MapCalibration, mahalanobis
from foldmap.localize.street.chance import EVIDENCE, SHIPPED
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_places import lane_places
from foldmap.localize.street.localizer import STEP_M, StreetLocalizer
from foldmap.localize.street.settings import StreetSettings
from foldmap.localize.tail import Tail
from foldmap.metrics.consistency import consistency
from foldmap.street.defaults import default_model
from foldmap.street.embed import embed_places
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.spectrum import mirror_signs
from foldmap.street.paper.pairs import AerialPairs, GroundTile
from foldmap.street.places import Places
from foldmap.town.street.ortho import town_tile
from foldmap.town.world import TownWorld
from foldmap.types import FloatArray

SEEDS = (20, 21, 22, 23)
"""Towns; the model has seen none of them."""
FRAMES, STEPS_M = 20, (5.0, 10.0)
SIDE_M = 320.0
RIGHT_M = 10.0
_LEAST_FRAMES = 5


@dataclass(frozen=True)
class Drive:
    """Poses along the lanes of a tile, embeddings of what was seen from them, and odometry between them."""

    poses: Sequence[SE2]
    rows: FloatArray
    odometry: Sequence[SE2 | None]


@dataclass(frozen=True)
class Asked:
    """A map with drives on it."""

    name: str
    localizer: StreetLocalizer
    drives: list[Drive]


def asked(tile: GroundTile, model: FieldEmbedding, drives: int) -> Asked:
    """Embed a tile's lanes, and drives on it, half of them with frames 5 m apart and half with 10."""
    places = lane_places(tile.map.graph, STEP_M)
    none = np.zeros(len(places), np.int64)
    rows = embed_places(
        tile.map.graph, Places(places.x_m, places.y_m, places.heading_rad, none, none.astype(np.float64)), model
    )
    local = StreetLocalizer(places, rows, StreetSettings.of(model, MapCalibration(SHIPPED.chance)), model)
    eye, fine = AerialPairs([tile], 5.0, model.window), lane_places(tile.map.graph, 1.0)
    rng, found = np.random.default_rng(2), list[Drive]()
    for _ in range(4000):
        if len(found) == drives:
            break
        poses = [off_lane(pose, rng) for pose in lane_walk(fine, FRAMES, STEPS_M[len(found) % 2], rng)]
        xy = np.array([(pose.x_m, pose.y_m) for pose in poses])
        if len(poses) == FRAMES and tile.ground.inside(xy, model.window.radius_m + 2.0).all():
            seen = model.embed_observations([eye.observe(tile, pose) for pose in poses])
            found.append(Drive(poses, seen, odometry(poses, rng)))
    return Asked(tile.map.name, local, found)


def driven(localizer: StreetLocalizer, drive: Drive, rows: FloatArray) -> list[StreetEstimate]:
    """The answers along a drive that begins anywhere."""
    running = localizer.start()
    return [running.step(row, moved) for row, moved in zip(rows, drive.odometry, strict=True)]


def hostile(maps: Sequence[Asked]) -> Iterator[tuple[str, list[StreetEstimate]]]:
    """Every drive where it is not: in the mirrored map, in another's map, and with its frames out of order."""
    rng = np.random.default_rng(3)
    for number, here in enumerate(maps):
        other = maps[(number + 1) % len(maps)]
        mirrored = here.localizer.mirrored()
        for drive in here.drives:
            yield "mirrored map", driven(mirrored, drive, drive.rows)
            if other is not here:
                yield "another map", driven(other.localizer, drive, drive.rows)
            yield "frames shuffled", driven(here.localizer, drive, drive.rows[rng.permutation(len(drive.rows))])
            left = drive.rows * _left_right(here)
            yield "mirrored images", driven(here.localizer, drive, left)


def _left_right(here: Asked) -> FloatArray:
    """Signs that exchange left and right in an embedding of the field model."""
    model = here.localizer.model
    assert isinstance(model, FieldEmbedding)
    return mirror_signs(model.field, model.frequencies, left_right=True)


def distances(truth: Sequence[SE2], answers: Sequence[StreetEstimate]) -> tuple[list[float], list[float]]:
    """Errors in metres of what was answered, and the same in standard deviations."""
    errors, sigmas = [], []
    for at, answer in zip(truth, answers, strict=True):
        if answer.pose is None or answer.covariance is None:
            continue
        off = np.array([answer.pose.x_m - at.x_m, answer.pose.y_m - at.y_m])
        errors.append(float(np.hypot(*off)))
        sigmas.append(mahalanobis(off, answer.covariance[:2, :2]))
    return errors, sigmas


def main() -> None:
    """Measure, and print what was found, with a calibration as it is stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", nargs="*", type=Path)
    parser.add_argument("--town", action="store_true")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--drives", type=int, default=6)
    told = parser.parse_args()
    if bool(told.tiles) == told.town:
        parser.error("give tiles, or --town")
    model = default_model()
    if told.town:
        tiles = (
            town_tile(TownWorld(seed), -SIDE_M / 2, -SIDE_M / 2, SIDE_M, day_seed=seed)
            for seed in map(int, told.seeds.split(","))
        )
    else:
        tiles = (read_ground_tile(path) for path in told.tiles)
    maps = [asked(tile, model, told.drives) for tile in tiles]
    print(json.dumps(measured(maps), indent=1))


def measured(maps: Sequence[Asked]) -> dict[str, object]:
    """Statuses of hostile and right answers, how those err, and the calibration that they give."""
    statuses: dict[str, Counter[str]] = {}
    reached = list[float]()
    for kind, answers in hostile(maps):
        statuses.setdefault(kind, Counter()).update(one.status.value for one in answers)
        reached += [one.diagnostics.evidence or 0.0 for one in answers[_LEAST_FRAMES:]]
    before, after, lost = Counter[str](), Counter[str](), 0
    errors, sigmas = list[float](), list[float]()
    for here in maps:
        free = replace(here.localizer.settings, calibration=MapCalibration())
        without = StreetLocalizer(here.localizer.places, here.localizer._embeddings, free, here.localizer.model)
        for drive in here.drives:
            answers = driven(here.localizer, drive, drive.rows)
            _tally(before, drive.poses, driven(without, drive, drive.rows))
            _tally(after, drive.poses, answers)
            found = distances(drive.poses, answers)
            errors, sigmas = errors + found[0], sigmas + found[1]
    near = [sigma for error, sigma in zip(errors, sigmas, strict=True) if error <= RIGHT_M]
    lost = len(errors) - len(near)
    fitted = MapCalibration({EVIDENCE: Tail.of(np.array(reached))}, negatives=len(reached))
    if len(sigmas) >= 20:
        fitted = fitted.with_errors(np.array(near), 2)
    used = np.array(sigmas) / SHIPPED.sigma_scale
    return {
        "maps": [here.name for here in maps],
        "hostile": {kind: dict(count) for kind, count in statuses.items()},
        "right, chance not asked": dict(before),
        "right": dict(after),
        "answered": len(errors),
        "farther than 10 m": lost,
        "median error m": float(np.median(errors)) if errors else math.nan,
        "within 1, 2, 3 sigma": [round(100 * share, 1) for share in consistency(used**2, 2).covered],
        "calibration": fitted.to_dict(),
    }


def _tally(into: Counter[str], truth: Sequence[SE2], answers: Sequence[StreetEstimate]) -> None:
    for at, one in zip(truth, answers, strict=True):
        far = one.pose is not None and math.hypot(one.pose.x_m - at.x_m, one.pose.y_m - at.y_m) > RIGHT_M
        into[one.status.value + (", wrong" if far else "")] += 1


if __name__ == "__main__":
    main()
