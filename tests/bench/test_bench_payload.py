"""What every map codec pays for its place: read back to the bit, in a dozen bytes, refused where it is damaged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.bench.lidar.payload import Reader, packed, placement, unpacked
from foldmap.errors import MapFormatError
from foldmap.geometry import MetricGrid

NUMBERS = st.floats(-1e7, 1e7)


@settings(deadline=None)
@given(
    place=st.tuples(NUMBERS, NUMBERS, st.floats(1e-3, 10), st.integers(1, 10**6), st.integers(1, 10**6)),
    tiles=st.dictionaries(st.tuples(st.integers(0, 900), st.integers(0, 900)), st.binary(max_size=300), max_size=4),
)
def test_any_grid_and_tiles_come_back(
    place: tuple[float, float, float, int, int], tiles: dict[tuple[int, int], bytes]
) -> None:
    grid = MetricGrid(*place)
    assert unpacked(packed(grid, tiles)) == (grid, tiles)


@pytest.mark.parametrize("resolution_m", [0.05, 0.1, 0.33, 1 / 3])
def test_grids_on_their_own_pixels_are_short(resolution_m: float) -> None:
    grid = MetricGrid(-2368 * resolution_m, 9_400_000 * resolution_m, resolution_m, 1696, 2752)
    payload = placement(grid)
    assert Reader(payload).grid() == grid
    assert len(payload) <= (13 if resolution_m != 1 / 3 else 21)


def test_damaged_payloads_are_refused() -> None:
    payload = packed(MetricGrid(1.5, -2.0, 0.05, 10, 20), {(0, 1): b"tile"})
    for wrong in (payload[:-1], payload + b"\0", b"", payload[:3], b"\x01" + bytes(30), b"\xff" * 40):
        with pytest.raises(MapFormatError):
            unpacked(wrong)
    not_finite = b"\x02" + placement(MetricGrid(0.0, 0.0, 0.05, 1, 1))[1:2] + b"\0\0\0\0\0\0\xf8\x7f" + b"\0\1\1"
    with pytest.raises(MapFormatError, match="placement"):
        Reader(not_finite).grid()
