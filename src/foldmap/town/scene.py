"""A patch of town around one pose, in that pose's frame, with the traffic of one day on it."""

import math
from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2
from foldmap.town.lidar.sensors import Terrain
from foldmap.town.plan import Street, arc_lengths, points_at
from foldmap.town.traffic import moving_boxes, parked_boxes
from foldmap.town.world import KERB_STEP_M, Ground, TownWorld
from foldmap.types import DoubleArray, FloatArray

_TERRAIN_M = 0.25


@dataclass(frozen=True)
class Pass:
    """One drive past the patch."""

    lateral_m: float  # offset from the patch's path, positive to the left
    direction: int  # +1 along the path, -1 against it
    boxes: DoubleArray  # vehicles of that day in the patch frame, see `traffic.parked_boxes`
    gain: float = 1.0  # of that day's intensities
    offset: float = 0.0  # likewise


@dataclass(frozen=True)
class Patch:
    """Ground truth and terrain about a pose: x ahead, y left, origin at the pose."""

    resolution_m: float  # pixel size of what is made from it
    size_px: tuple[int, int]  # rows, columns of the map crop
    truth: FloatArray  # float32 reflectance
    # (left, top, resolution) of the truth; its pixel (0, 0) has its centre there
    truth_frame: tuple[float, float, float]
    terrain: Terrain  # heights for the rays
    path_m: DoubleArray  # float64 (N, 2), driven path in the patch frame
    arc_m: DoubleArray  # its arc length, 0 at the origin
    streets: list[Street]  # those in reach
    world_SE2_patch: SE2  # where the patch lies
    reach_m: float  # farthest useful return

    def pose_at(self, arc_m: float, drive: Pass) -> tuple[float, float, float]:
        """Pose x, y, heading of a drive at an arc length, in the patch frame; straight on beyond the path's ends."""
        low, high = float(self.arc_m[0]), float(self.arc_m[-1])
        inside = min(max(arc_m, low), high)
        stations = np.array([inside, min(inside + 0.8, high), max(inside - 0.8, low)])
        here, ahead, behind = points_at(self.path_m, self.arc_m, stations)
        heading = math.atan2(ahead[1] - behind[1], ahead[0] - behind[0])
        beyond = arc_m - inside
        x = here[0] + beyond * math.cos(heading) - drive.lateral_m * math.sin(heading)
        y = here[1] + beyond * math.sin(heading) + drive.lateral_m * math.cos(heading)
        return x, y, heading + (0.0 if drive.direction > 0 else math.pi)

    def traffic(self, rng: np.random.Generator, moving: bool, density: float = 0.25) -> DoubleArray:
        """Vehicles of a random day in the patch frame, none of them on the path at the origin."""
        day = int(rng.integers(1 << 30))
        boxes = [parked_boxes(self.streets, day, float(rng.uniform(0.1, 0.9)))]
        if moving:
            boxes.append(moving_boxes(self.streets, day, float(rng.uniform(0, 600)), density))
        world = np.concatenate(boxes)
        inverse = self.world_SE2_patch.inverse()
        cos, sin = math.cos(inverse.heading_rad), math.sin(inverse.heading_rad)
        local = world.copy()
        local[:, :2] = inverse.apply(world[:, :2])
        local[:, 2] = cos * world[:, 2] - sin * world[:, 3]
        local[:, 3] = sin * world[:, 2] + cos * world[:, 3]
        near = np.abs(local[:, :2]).max(axis=1, initial=0) < self.reach_m + 30
        on_path = np.hypot(local[:, 0], local[:, 1]) < 6.0
        kept: DoubleArray = local[near & ~on_path]
        return kept


def pose_on(path_m: DoubleArray, arc_m: DoubleArray, at_m: float, chord_m: float) -> SE2:
    """Pose at an arc length of a path; it heads along the chord from ``chord_m`` behind to as far ahead."""
    behind, here, ahead = points_at(path_m, arc_m, at_m + np.array([-chord_m, 0.0, chord_m]))
    return SE2(float(here[0]), float(here[1]), math.atan2(ahead[1] - behind[1], ahead[0] - behind[0]))


def new_patch(
    world: TownWorld,
    path_world_m: DoubleArray,
    at_m: float,
    resolution_m: float,
    size_px: tuple[int, int],
    rng: np.random.Generator,
) -> Patch:
    """Render the truth and the terrain about the pose at an arc length of a path, with a small error of steering."""
    arc = arc_lengths(path_world_m)
    side = float(rng.normal(0, 0.3))
    pose = pose_on(path_world_m, arc, at_m, 1.0) @ SE2(0.0, side, float(rng.normal(0, 0.03)))
    height, width = size_px
    split = max(1, round(resolution_m / 0.1))
    fine = resolution_m / split
    truth_size = (height * split, width * split)
    frame = (-0.5 * (truth_size[1] - 1) * fine, 0.5 * (truth_size[0] - 1) * fine, fine)
    truth = world.ground_along(pose @ SE2(frame[0], frame[1], 0.0), fine, *truth_size).reflectance
    level = float(truth.mean())
    truth = np.maximum(level + float(rng.uniform(0.3, 1.1)) * (truth - level), 0.01).astype(np.float32)
    truth *= day_field(rng, truth_size, wet=rng.random() < 0.5)  # stains that stay
    reach = 0.5 * math.hypot(height, width) * resolution_m
    margin = 14.0
    cells = [math.ceil((n * resolution_m + 2 * margin) / _TERRAIN_M) for n in size_px]
    corner = (-0.5 * (cells[1] - 1) * _TERRAIN_M, 0.5 * (cells[0] - 1) * _TERRAIN_M)
    heights = terrain_heights(world.ground_along(pose @ SE2(*corner, 0.0), _TERRAIN_M, *cells, shade=False))
    low = [pose.x_m - reach - 20, pose.y_m - reach - 20, pose.x_m + reach + 20, pose.y_m + reach + 20]
    terrain, path = Terrain(*corner, _TERRAIN_M, heights), pose.inverse().apply(path_world_m)
    streets = world.streets_near(*low)
    return Patch(resolution_m, size_px, truth, frame, terrain, path, arc - at_m, streets, pose, reach)


def terrain_heights(ground: Ground) -> FloatArray:
    """What rays meet, float32 (H, W): the height of standing things, else of the ground."""
    step = np.clip(ground.kerb_m / 0.1, 0.0, 1.0) * KERB_STEP_M
    return np.where(ground.obstacle_m > 0, ground.obstacle_m, step).astype(np.float32)


def day_field(rng: np.random.Generator, shape: tuple[int, int], wet: bool) -> FloatArray:
    """Factor on reflectance that one day brings, float32: dust and, when ``wet``, dark damp patches."""
    coarse = rng.normal(0, 0.05, (7, 7))
    if wet:
        coarse = coarse - 0.35 * np.clip(rng.normal(0.1, 0.8, (7, 7)), 0, 1)
    rows, cols = np.linspace(0, 5.999, shape[0]), np.linspace(0, 5.999, shape[1])
    i, j = rows.astype(int), cols.astype(int)
    u, v = (rows - i)[:, None], cols - j
    upper = coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v
    lower = coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v
    field: FloatArray = np.exp(upper * (1 - u) + lower * u).astype(np.float32)
    return field


def draw_pass(patch: Patch, rng: np.random.Generator, same_lane: bool) -> Pass:
    """A drive of another day: in the same lane, the next one, or the other way."""
    lateral, direction = float(rng.normal(0, 0.35)), 1
    if not same_lane:
        which = rng.random()
        lateral += 0.0 if which < 0.4 else (3.3 if which < 0.75 else -3.3)
        direction = -1 if 0.4 <= which < 0.75 else 1
    boxes = patch.traffic(rng, moving=bool(rng.random() < 0.5), density=0.1)
    return Pass(lateral, direction, boxes, float(np.exp(rng.normal(0, 0.08))), float(rng.normal(0, 0.01)))
