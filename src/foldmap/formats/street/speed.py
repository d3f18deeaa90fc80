"""Speed limits as maps write them, to metres a second."""

from __future__ import annotations

import math

_MPS, _KMH, _MPH = 1.0, 1 / 3.6, 0.44704
_UNITS = {
    **dict.fromkeys(("m/s", "mps", "ms", "m/sec"), _MPS),
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph", "km/hr"), _KMH),
    **dict.fromkeys(("mph", "mi/h", "miles/h"), _MPH),
}


def metres_a_second(value: str, unit: str) -> float:
    """A speed limit.

    Args:
        value: a number as text.
        unit: as maps spell it, in capitals or not.

    Raises:
        ValueError: another unit, no number, or one that is negative or not finite; says what was found.
    """
    factor = _UNITS.get(unit.strip().lower())
    if factor is None:
        raise ValueError(f"is in {unit[:40]!r}, not in m/s, km/h or mph")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"is {value[:40]!r}, which is no number") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"is {value[:40]}, not a finite number from 0 on")
    return number * factor
