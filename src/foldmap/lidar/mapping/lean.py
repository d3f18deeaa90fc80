"""Sweeps of a sensor that leans more than its poses say: the ground that it sees is not as level as they have it.

A sensor that leans by an angle shifts all ground by its height times the sine of it: 15 cm for five degrees on a roof,
which no match notices, for the ground keeps its shape. But the ground itself says so.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foldmap.geometry import SE3
from foldmap.lidar.mapping.ground import ground_plane
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

MOST_RAD = math.radians(2.5)
"""What mounts, suspension and the crossfall of streets come to in three recordings is 1.7 degrees at most."""


def upright(sweep: Sweep, world_SE3_sensor: SE3) -> Sweep:
    """The sweep itself; turned about the sensor until its z axis is the ground's normal where that leans too much.

    The lean is the smaller of the ground's angles to the sensor's z axis and to the world's: on a hill the first is
    small, and the second where a pose tells how the sensor is mounted.
    """
    plane = ground_plane(sweep.points_sensor_m)
    if plane is None:
        return sweep
    normal = np.array([-plane[0], -plane[1], 1.0]) / math.sqrt(float(plane[0] ** 2 + plane[1] ** 2 + 1.0))
    level = max(float(normal[2]), float(world_SE3_sensor.matrix[2, :3] @ normal))
    if level >= math.cos(MOST_RAD):
        return sweep
    turned = sweep.points_sensor_m.astype(np.float64) @ _onto_z(normal).T
    return replace(sweep, points_sensor_m=turned.astype(np.float32))


def level(sweep: Sweep) -> SE3:
    """World_SE3_sensor where the world is at the sensor and the ground that it sees is level."""
    plane, matrix = ground_plane(sweep.points_sensor_m), np.eye(4)
    if plane is not None:
        normal = np.array([-plane[0], -plane[1], 1.0])
        matrix[:3, :3] = _onto_z(normal / np.linalg.norm(normal))
    return SE3(matrix)


def _onto_z(normal: DoubleArray) -> DoubleArray:
    """The smallest rotation (3, 3) that takes a unit vector, not downward, to the z axis (Rodrigues)."""
    x, y, cos = (float(part) for part in normal)
    cross: DoubleArray = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])  # of the axis normal x z
    return np.asarray(np.eye(3) + cross + cross @ cross / (1.0 + cos))
