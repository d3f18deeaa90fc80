"""How small a map is: per pixel, per square metre of ground, and for a whole county or country (tables 5 and 6)."""

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


@dataclass(frozen=True)
class RoadNetwork:
    """Roads to be mapped: what the table calls them, and their length."""

    name: str
    road_m: float


# Footnote 1 of the paper: a 150 m road segment takes about 4 MB as a single-channel 16-bit PNG, at 4.94 bit per pixel
# (table 4 prints 4.93580). Its 900 GB and 168 TB imply the road lengths; decimal units make both agree.
_SEGMENT_M = 150.0
_SEGMENT_PNG16_BYTES = 4e6
_PNG16_BPP = 4.93580
LA_COUNTY = RoadNetwork("LA County", 33_750e3)
UNITED_STATES = RoadNetwork("Full US", 6_300_000e3)


def projected_bytes(bpp: float, roads: RoadNetwork) -> float:
    """Project the storage of a road network from bits per raster pixel at 5 cm, with the paper's assumption (table 5).

    The assumption fixes how many raster pixels a road metre has: the bytes of a segment's PNG over its bits per pixel.
    """
    px_per_road_m = _SEGMENT_PNG16_BYTES * 8.0 / _PNG16_BPP / _SEGMENT_M
    return roads.road_m * px_per_road_m * bpp / 8.0


def format_bytes(size_bytes: float) -> str:
    """Write a size with three digits and a decimal unit: 900 GB, 1.51 GB, 168 TB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            return f"{size_bytes:.3g} {unit}" if size_bytes < 999.5 else f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000.0
    raise AssertionError("unreachable")
