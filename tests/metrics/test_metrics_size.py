"""Rates and projections, against the numbers that the paper prints."""

import pytest

from foldmap.errors import InputError
from foldmap.metrics import (
    LA_COUNTY,
    UNITED_STATES,
    bits_per_m2,
    bits_per_px,
    format_bytes,
    projected_bytes,
)


def test_rates() -> None:
    assert bits_per_px(100, 1600) == 0.5
    assert bits_per_m2(100, 4.0) == 200.0
    # Table 6 against table 2: 4.94 bit per 5 cm pixel are 400 times as many per m2 of raster.
    assert bits_per_m2(4_935_800, 8_000_000 * 0.05**2) == pytest.approx(400 * bits_per_px(4_935_800, 8_000_000))


@pytest.mark.parametrize("call", [lambda: bits_per_px(1, 0), lambda: bits_per_m2(1, 0.0)])
def test_no_rate_of_nothing(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        call()


def test_projection_of_png_is_the_papers() -> None:
    assert projected_bytes(4.93580, LA_COUNTY) == pytest.approx(900e9, rel=0.005)
    assert projected_bytes(4.93580, UNITED_STATES) == pytest.approx(168e12, rel=0.005)


def test_projection_of_the_learned_code_is_the_papers() -> None:
    # Table 4: 0.00830 bit per pixel (match, 8x); table 5: 1.5 GB and 0.28 TB.
    assert projected_bytes(0.00830, LA_COUNTY) == pytest.approx(1.5e9, rel=0.02)
    assert projected_bytes(0.00830, UNITED_STATES) == pytest.approx(0.28e12, rel=0.02)


def test_projection_of_webp_is_the_papers() -> None:
    # Table 5's ratio WebP to PNG is the same in both columns, about 0.1755 bit per pixel.
    bpp = 4.93580 * 32 / 900
    assert projected_bytes(bpp, UNITED_STATES) == pytest.approx(5.99e12, rel=0.01)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (900e9, "900 GB"), (168e12, "168 TB"), (5e16, "50000 TB")],
)
def test_bytes_are_written_with_decimal_units(size: float, text: str) -> None:
    assert format_bytes(size) == text
