"""Lidars: where their beams point, how strongly each of them answers, and what they hit."""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foldmap.errors import ConfigError
from foldmap.town.lidar.answer import BASE, RANGE_STEP_M, SIGNAL_STEP, answer_all
from foldmap.town.lidar.cast import cast_rays
from foldmap.types import BoolArray, ByteArray, DoubleArray, FloatArray

SensorName = Literal["spinning64", "spinning128", "rosette"]


@dataclass(frozen=True)
class Lidar:
    """One specimen of a lidar: its beam pattern and how it responds."""

    name: SensorName  # pattern
    height_m: float  # above the ground
    # float64 (C,), tangent of each channel's elevation, steepest first; for a rosette, of its bands
    tan_elevation: DoubleArray
    columns: int  # firings of each channel in one revolution
    half_width_rad: float  # half of the horizontal field of view
    gain: DoubleArray  # float64 (C,), factor on reflectance contrast
    offset: DoubleArray  # float64 (C,), what is added to the answer
    # float64 (C, 3), amplitude, wave number (1/m) and phase of each channel's residual range dependence
    ripple: DoubleArray
    falloff_per_m: float = 0.008  # relative loss of answer with range that the maker did not compensate
    incidence_power: float = 0.12  # exponent of the cosine of incidence
    noise: float = 0.042  # standard deviation of one return's intensity
    gamma: float = 1.0  # exponent of the response; below 0 the response is logarithmic
    spill: float = 0.0  # share of a return's answer that leaks into the next along the firing order
    dropout: float = 0.03  # share of returns lost at random
    range_noise_m: float = 0.02  # standard deviation of the range
    steps: int = 100  # quantization of intensity
    max_range_m: float = 70.0  # beyond this nothing returns


class Hits(NamedTuple):
    """Returns of one revolution."""

    xyz_m: FloatArray  # float32 (N, 3), in the frame of the terrain; z above the carriageway
    range_m: FloatArray  # float32 (N,), horizontal
    channel: NDArray[np.int16]  # int16 (N,)
    kind: ByteArray  # uint8 (N,), 0 ground, 1 standing thing, 2 vehicle


class Terrain(NamedTuple):
    """Heights around the sensor on a lattice: pixel (0, 0) has its centre at (left_m, top_m), rows go down in y."""

    left_m: float
    top_m: float
    resolution_m: float
    height_m: FloatArray


def build_lidar(name: SensorName, rng: np.random.Generator, miscalibration: float = 1.0) -> Lidar:
    """Build one specimen of a lidar; ``rng`` draws its errors. Raises ConfigError: no such lidar.

    ``spinning64`` has uneven elevations from +2 to -24.8 degrees, ``rosette`` does not repeat. ``miscalibration``
    scales the channels' gain and offset errors; 1 imitates an HDL-64E.
    """
    if name == "spinning64":
        upper, lower = np.linspace(2.0, -8.33, 32), np.linspace(-8.83, -24.8, 32)
        elevation = np.concatenate([upper, lower]) + rng.normal(0, 0.06, 64)
        shape = (1.73, 1950, math.pi, 0.02)
    elif name == "spinning128":
        dense = np.linspace(1.0, -6.0, 60)
        elevation = np.concatenate([np.linspace(15, 1.5, 24), dense, np.linspace(-6.4, -25.0, 44)])
        elevation = elevation + rng.normal(0, 0.03, 128)
        shape = (1.9, 1800, math.pi, 0.012)
    elif name == "rosette":
        elevation = np.linspace(8.0, -32.0, 96)
        shape = (1.6, 1600, math.radians(60), 0.02)
    else:
        raise ConfigError(f"no lidar is called {name!r}", "choose spinning64, spinning128 or rosette")
    tan = np.sort(np.tan(np.radians(elevation)))
    count, scale = len(tan), miscalibration * (1.0 if name == "spinning64" else 0.35)
    ripple = [rng.normal(0, 0.03 * scale, count), rng.uniform(0.3, 1.2, count), rng.uniform(0, 6.28, count)]
    gain, offset = np.exp(rng.normal(0.0, 0.3 * scale, count)), rng.normal(0.0, 0.04 * scale, count)
    height_m, columns, half_rad, noise_m = shape
    lidar = Lidar(name, height_m, tan, columns, half_rad, gain, offset, np.stack(ripple, axis=1), range_noise_m=noise_m)
    if name == "spinning64":
        return lidar
    gamma, spill = (-1.0, 0.25) if name == "rosette" else (0.7, 0.05)
    return replace(lidar, gamma=gamma, spill=spill, steps=255)


def another_day(lidar: Lidar, rng: np.random.Generator) -> Lidar:
    """The same specimen on another day: dirt, temperature, another level and response."""
    level = np.exp(rng.normal(0, 0.15))
    return replace(
        lidar,
        gain=lidar.gain * level * np.exp(rng.normal(0, 0.05, len(lidar.gain))),
        offset=lidar.offset + rng.normal(0, 0.02) + rng.normal(0, 0.012, len(lidar.offset)),
        noise=float(np.clip(lidar.noise * np.exp(rng.normal(0, 0.35)), 0.01, 0.12)),
        gamma=lidar.gamma if lidar.gamma < 0 else float(lidar.gamma * np.exp(rng.normal(0, 0.15))),
        falloff_per_m=float(rng.uniform(0.0, 0.018)),
        incidence_power=float(rng.uniform(0.0, 0.3)),
        dropout=float(rng.uniform(0.0, 0.1)),
    )


def scan(
    lidar: Lidar,  # the specimen
    terrain: Terrain,  # heights; beams that leave it return nothing
    boxes: DoubleArray,  # vehicles, see `traffic.parked_boxes`
    pose_xy_heading: tuple[float, float, float],  # sensor pose in the terrain's frame at mid-revolution
    rng: np.random.Generator,  # draws the firing phase
    advance_m: float = 0.0,  # driven during the revolution; motion-compensated in the result
    tilt_rad: tuple[float, float] = (0.0, 0.0),  # small pitch and roll of the vehicle
    max_range_m: float | None = None,  # nearer limit than the lidar's own
) -> Hits:
    """Cast one revolution over a terrain with vehicles on it."""
    count = lidar.columns
    azimuth = (np.arange(count) + rng.random()) * (2 * lidar.half_width_rad / count) - lidar.half_width_rad
    limit = min(lidar.max_range_m, max_range_m or math.inf)
    tan = np.broadcast_to(lidar.tan_elevation[:, None], (len(lidar.tan_elevation), count))
    if lidar.name == "rosette":  # bands swing up and down, differently each time
        swing = 0.35 * np.sin(azimuth * rng.uniform(9, 23) + rng.uniform(0, 6.28)) + rng.uniform(-0.5, 0.5)
        step = float(np.median(np.diff(lidar.tan_elevation)))
        tan = tan + (2.5 * swing * step)[None, :]
    pose = np.array([*pose_xy_heading, lidar.height_m, advance_m, *tilt_rad])
    ground = terrain.height_m, terrain.left_m, terrain.top_m, terrain.resolution_m
    return Hits(*cast_rays(pose, np.ascontiguousarray(tan), azimuth, *ground, boxes, limit))


def response_tables(lidar: Lidar) -> tuple[DoubleArray, ...]:
    """The response of a lidar as `answer.answer_one` reads it: range factor, curve, gain, offset, ripple, scalars."""
    horizontal = np.arange(0.0, lidar.max_range_m + 1.0, RANGE_STEP_M)
    cosine = lidar.height_m / np.hypot(horizontal, lidar.height_m)
    factor = np.maximum(1.0 - lidar.falloff_per_m * horizontal, 0.2) * (cosine / BASE) ** lidar.incidence_power
    signal = np.arange(0.0, 1.5, SIGNAL_STEP)
    logarithmic = lidar.gamma < 0
    curve = 0.214 * np.log1p(9.0 * signal) if logarithmic else signal**lidar.gamma * BASE ** (1.0 - lidar.gamma)
    row = np.array([lidar.noise, lidar.spill, lidar.steps, lidar.dropout, lidar.range_noise_m])
    return factor, curve, lidar.gain, lidar.offset, lidar.ripple, row


def respond(lidar: Lidar, hits: Hits, reflectance: DoubleArray, seed: int) -> tuple[FloatArray, BoolArray]:
    """What the lidar reports for reflectances at the hits: float32 (N,), 0 to 1, and which came back, bool (N,)."""
    seen, tables = np.asarray(reflectance, np.float64), response_tables(lidar)
    reported: tuple[FloatArray, BoolArray] = answer_all(hits.range_m, hits.channel, hits.kind, seen, tables, seed)
    return reported
