"""How small a map is: per pixel, per square metre of ground, and for a whole county or country (tables 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass

from foldmap.errors import InputError


def bits_per_px(payload_bytes: int, raster_px: int) -> float:
    """Return bits per pixel over the WHOLE raster at its native resolution, observed or not: the paper's bpp."""
    if raster_px <= 0:
        raise InputError(f"a raster of {raster_px} pixels has no rate", "give a map with pixels")
    return 8.0 * payload_bytes / raster_px


def bits_per_m2(payload_bytes: int, observed_m2: float) -> float:
    """Return bits per square metre of OBSERVED ground, the rate that empty raster cannot flatter."""
    if observed_m2 <= 0:
        raise InputError(f"{observed_m2} m2 of observed ground have no rate", "give a map with observed pixels")
    return 8.0 * payload_bytes / observed_m2


def compression_factor(payload_bytes: int, reference_bytes: int) -> float:
    """Return how many times smaller the payload is than a reference, such as the same map as 16-bit PNG."""
    if payload_bytes <= 0:
        raise InputError("an empty payload has no compression factor", "fold a map first")
    return reference_bytes / payload_bytes


@dataclass(frozen=True)
class RoadNetwork:
    """Roads to be mapped.

    Attributes:
        name: what the table calls it.
        road_m: length of road.
    """

    name: str
    road_m: float


# Footnote 1 of the paper: a 150 m road segment takes about 4 MB as a single-channel 16-bit PNG, at 4.94 bit per pixel
# (table 4 prints 4.93580). Its 900 GB and 168 TB imply the road lengths; decimal units make both agree.
PAPER_SEGMENT_M = 150.0
PAPER_SEGMENT_PNG16_BYTES = 4e6
PAPER_PNG16_BPP = 4.93580
LA_COUNTY = RoadNetwork("LA County", 33_750e3)
UNITED_STATES = RoadNetwork("Full US", 6_300_000e3)


def projected_bytes(
    bpp: float,
    roads: RoadNetwork,
    segment_m: float = PAPER_SEGMENT_M,
    segment_png16_bytes: float = PAPER_SEGMENT_PNG16_BYTES,
    png16_bpp: float = PAPER_PNG16_BPP,
) -> float:
    """Project the storage of a road network from bits per raster pixel, with the paper's assumption (table 5).

    The assumption fixes how many raster pixels a road metre has: the bytes of a segment's PNG over its bits per pixel.

    Args:
        bpp: bits per pixel of the whole raster at 5 cm.
        roads: the network.
        segment_m: length of the reference segment.
        segment_png16_bytes: its size as 16-bit PNG.
        png16_bpp: bits per pixel of that PNG.
    """
    px_per_road_m = segment_png16_bytes * 8.0 / png16_bpp / segment_m
    return roads.road_m * px_per_road_m * bpp / 8.0


def projected_bytes_from_area(rate_bits_per_m2: float, roads: RoadNetwork, observed_m2_per_road_m: float) -> float:
    """Project the storage of a road network from bits per m2 of observed ground.

    Args:
        rate_bits_per_m2: bits per m2 of observed ground.
        roads: the network.
        observed_m2_per_road_m: mean observed width; measure it as a map's observed m2 over its drive's length.
    """
    return roads.road_m * observed_m2_per_road_m * rate_bits_per_m2 / 8.0


def format_bytes(size_bytes: float) -> str:
    """Write a size with three digits and a decimal unit: 900 GB, 1.51 GB, 168 TB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            return f"{size_bytes:.3g} {unit}" if size_bytes < 999.5 else f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000.0
    raise AssertionError("unreachable")
