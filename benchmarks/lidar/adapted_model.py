"""The model of rows 1, 2 and 5: the shipped one, adapted to a real 64-ring lidar on another street.

The shipped model has seen only the generated town. A user would adapt it to his sensor, and so does this, on the
sixteen sweeps of kitti-odometry00 (another recording of another street), with as many pairs of the town so that it does
not forget. Nothing of the street that is scored is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.adapting import Adaptation, adapted_model
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.pairs.from_sweeps import SweepPairs
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.localize.lidar.calibrate import calibrate_model
from foldmap.town.lidar.sampling import sample_pair

RECORDING = "kitti-odometry00"
RESOLUTION_M = 0.05
TOWN_PAIRS = 110
HELD_OUT = 16
REACH_PX = (640, 480)  # map and query of a real pair
MAX_RANGE_M = 30.0

STREET = Adaptation(
    steps=800,
    map_crop_px=240,
    query_crop_px=192,
    radius_px=20,
    learning_rate=1e-3,
    rate_bit_m2=1.7,
    wrong=300,
)


def street_bundle(board: Board, adaptation: Adaptation = STREET) -> Bundle:
    """Adapt the shipped model for 5 cm maps, once a run; with no steps it is the shipped one.

    Raises:
        RowSkipped: there is no model, or the recording is missing.
    """
    bundle = board.bundle(RESOLUTION_M)
    if adaptation.steps == 0:
        return bundle

    def make() -> Bundle:
        real, town = real_pairs(board), town_pairs(adaptation.seed)
        training = balanced(real, town[HELD_OUT:])
        report = board.report(f"adapting to {RECORDING}")
        model, curve = adapted_model(bundle, training, town[:HELD_OUT], RESOLUTION_M, adaptation, report)
        provenance = {**bundle.provenance, "adapted": asdict(adaptation), "on": RECORDING, "validation": curve}
        every: list[RasterPair] = [*real, *town]
        name = f"{bundle.name}-{RECORDING}"
        done = calibrate_model(
            model, every, RESOLUTION_M, name, provenance, wrong=adaptation.wrong, seed=adaptation.seed
        )
        return done.bundle

    return board.shared(("street bundle", adaptation), make)  # type: ignore[no-any-return]


def real_pairs(board: Board) -> list[RasterPair]:
    """One pair a query of five sweeps; so short a drive has no room for a guard, and nothing is scored on it."""
    folder = board.recordings(RECORDING)
    drive = open_drive(folder / "sweeps", folder / "poses.txt")
    sweeps, poses = drive.sweeps, drive.world_SE3_sensors
    map_px, query_px = REACH_PX
    pairs = SweepPairs(sweeps, poses, RESOLUTION_M, guard=0, map_px=map_px, sweep_px=query_px, max_range_m=MAX_RANGE_M)
    return list(pairs)


def town_pairs(seed: int) -> list[RasterPair]:
    """Pairs of the generated town, the same for the same seed."""
    pairs: list[RasterPair] = []
    for index in range(TOWN_PAIRS):
        drawn = sample_pair(np.random.default_rng([seed, 77, index]))
        shift_px = (-drawn.offset_px[0], -drawn.offset_px[1])
        pairs.append(
            RasterPair(drawn.map.intensity, drawn.map.observed, drawn.sweep_intensity, drawn.sweep_observed, shift_px)
        )
    return pairs


def balanced(real: Sequence[RasterPair], town: Sequence[RasterPair]) -> list[Any]:
    """As many of one as of the other, the fewer repeated."""
    few, many = sorted((list(real), list(town)), key=len)
    return [*many, *(few * (len(many) // max(len(few), 1)))]
